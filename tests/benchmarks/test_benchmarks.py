"""The benchmarks run, and tell what they found. Nothing here is timed."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest

from tests.benchmarks import attack
from tests.benchmarks.__main__ import ROWS, main
from tests.benchmarks.measure import Line, Peer, Skipped, in_turn, ratio, table, timed
from tests.benchmarks.networks import TINY


def test_calls_are_timed_in_turn_after_one_round_that_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        next(ticks)

    times = in_turn(2, slow, lambda: order.append("quick"))
    assert times == [[2.0, 2.0], [1.0, 1.0]]
    assert order == ["slow", "quick"] * 3


def test_a_ratio_is_the_median_of_ratios_of_one_round() -> None:
    assert ratio([2.0, 40.0, 3.0], [1.0, 10.0, 1.0]) == 3.0
    line = timed("A1", "draw", [0.002, 0.04, 0.003], [0.001, 0.01, 0.001], 3)
    assert (line.ours, line.floor, line.ratio, line.passed) == (3, 1, 3, True)


@pytest.mark.parametrize(
    ("ratio", "at_least", "passed"), [(2, False, True), (3, False, False), (3, True, True)]
)
def test_a_goal_is_a_most_or_a_least(ratio: float, at_least: bool, passed: bool) -> None:
    line = Line("A1", "draw", 1, 1, "ms", ratio, 2.5, at_least=at_least)
    assert line.passed == passed
    assert ("pass" if passed else "short") in str(line)


def test_the_table_shows_goals_then_peers_in_110_columns() -> None:
    line = Line("A1", "x" * 52, 1234567, 12.345, "ms", 0.012, 0.007, sign="%")
    peer = Peer("A1", "y" * 52, 24, quoted=True)
    head, rule, shown, blank, _, beside = table([peer, line]).splitlines()
    assert all(len(row) <= 110 for row in (head, rule, shown, beside))
    assert blank == ""
    for figure in ("1,234,567 ms", "12.3 ms", "<= 0.70 %", "short"):
        assert figure in shown
    assert beside.endswith("quoted")


def test_a_row_that_a_machine_cannot_measure_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attack, "_has_bfloat16", lambda: False)
    (result,) = attack.half_rows(dataclasses.replace(TINY, every_peer=True))
    assert isinstance(result, Skipped)
    assert "D2  PGD-7 in bf16: this CPU has no bf16 instructions" in table([result])


@pytest.mark.parametrize("row", ROWS)
def test_every_row_runs(row: str) -> None:
    results = list(ROWS[row](TINY))
    assert any(isinstance(result, Line) for result in results)
    assert all(result.row == row for result in results)
    assert all(len(text) <= 110 for text in table(results).splitlines())


def test_six_figures_of_outputs_are_measured_in_the_pass_that_f2_times() -> None:
    (result,) = ROWS["F2"](TINY)
    assert isinstance(result, Line)
    assert result.what.startswith("6 figures of 64 pictures")


def test_the_figures_are_written_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["C2", "--json", str(tmp_path / "figures.json")], TINY)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {result["row"] for result in figures["results"]} == {"C2"}
    assert "C2" in capsys.readouterr().out


def test_an_unknown_row_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["Z9"])
    assert "choose from A1" in capsys.readouterr().err
