"""The rounds of a draw: saved, told, and found again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ticketkit
from tests.core.networks import Named, pictures
from ticketkit.registry import Catalogue, Moment, Plugin

FIT = "small:epochs=2,batch=10,lr=0.05"
SPARSITY = 0.73  # six rounds, which remove 14, 26, 35, 42, 48, 53 of 72 weights
ROUNDS = 6


def draw(run: Path | None = None, **options: Any) -> ticketkit.Ticket:
    chosen: dict[str, Any] = {
        "scheme": "unstructured",
        "sparsity": SPARSITY,
        "strategy": "imp",
        "data": pictures(50),
        "schedule": FIT,
        "run": run,
        "save_every": 0,
    }
    return ticketkit.draw(Named(), **{**chosen, **options})


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def stop_after(count: int) -> Any:
    """A report that ends the draw at the count-th event."""
    seen = []

    def report(event: object) -> None:
        seen.append(event)
        if len(seen) == count:
            raise KeyboardInterrupt

    return report


def test_every_round_is_a_ticket_in_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    last = draw(run)
    tickets = [ticketkit.load_ticket(p) for p in sorted(run.glob("round-*/ticket.safetensors"))]
    assert len(tickets) == ROUNDS
    assert tickets[-1] == last
    assert [ticket.mask.size - ticket.mask.kept for ticket in tickets] == [14, 26, 35, 42, 48, 53]
    for ticket in tickets:
        assert ticket.provenance.sparsity == pytest.approx(ticket.mask.sparsity, abs=0.007)
        once_more = draw(sparsity=ticket.provenance.sparsity)
        assert once_more.mask == ticket.mask  # its provenance draws it again


def test_what_was_saved_within_a_round_goes_as_the_round_is_over(tmp_path: Path) -> None:
    draw(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir() if path.is_dir()}
    assert names == {*(f"round-{number:03}" for number in range(1, ROUNDS + 1)), "over-006"}


def test_events_tell_of_every_round_and_every_epoch(tmp_path: Path) -> None:
    draw(tmp_path / "run")
    found = events(tmp_path / "run")
    assert [event["number"] for event in found if event["event"] == "round"] == [1, 2, 3, 4, 5, 6]
    epochs = [event["round"] for event in found if event["event"] == "epoch"]
    assert epochs == [2, 2, 3, 3, 4, 4, 5, 5, 6, 6]


def test_a_draw_that_cannot_go_on_tells_that_rounds_are_saved(tmp_path: Path) -> None:
    with pytest.raises(ticketkit.TrainingError, match=r"the last good state is saved in .*run"):
        draw(tmp_path / "run", schedule="small:epochs=2,batch=10,lr=1e30")


@pytest.mark.parametrize(
    "strategy", ["imp", "imp:rewind=3", "imp:train_first=true", "lmp:start=kaiming"]
)
def test_a_draw_that_is_interrupted_anywhere_goes_on_to_the_same_ticket(
    strategy: str, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    expected = draw(whole, strategy=strategy)
    told: list[object] = []
    draw(strategy=strategy, report=told.append)
    for count in range(1, len(told) + 1, 2):
        run = tmp_path / "broken"
        with pytest.raises(KeyboardInterrupt):
            draw(run, strategy=strategy, report=stop_after(count))
        assert draw(run, strategy=strategy, resume=True).encoded() == expected.encoded()
        kinds = [[e for e in events(r) if e["event"] != "fit"] for r in (run, whole)]
        assert kinds[0] == kinds[1]
        shutil.rmtree(run)


@pytest.mark.parametrize("strategy", ["imp", "lmp:start=kaiming"])
def test_a_draw_that_is_over_is_found_and_not_repeated(strategy: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    expected = draw(run, strategy=strategy)
    told: list[object] = []
    assert draw(run, strategy=strategy, resume=True, report=told.append) == expected
    assert told == []


def test_a_round_that_was_damaged_is_drawn_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    expected = draw(run)
    for number in (5, 6):
        path = run / f"round-{number:03}" / "ticket.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    assert draw(run, resume=True) == expected
    assert (run / "round-005.bad").is_dir()


# Fault row 21
def test_a_run_does_not_go_on_to_a_lower_sparsity(tmp_path: Path) -> None:
    draw(tmp_path / "run")
    with pytest.raises(ticketkit.UsageError, match=r"sparsity was 0\.73 and is 0\.5"):
        draw(tmp_path / "run", sparsity=0.5, resume=True)


class Regrowing(ticketkit.Strategy):
    """Asks for less in its second round than in its first."""

    name = "regrowing"

    def rounds(self, job: ticketkit.Job) -> Iterator[ticketkit.Round]:
        mask = job.select(job.sparsity)
        yield ticketkit.Round(mask)
        yield ticketkit.Round(job.select(job.sparsity / 2, mask))


class Timid(ticketkit.Strategy):
    """Does not go as far as it is asked to."""

    name = "timid"

    def rounds(self, job: ticketkit.Job) -> Iterator[ticketkit.Round]:
        yield ticketkit.Round(job.select(job.sparsity / 2))


class Clumsy(Timid):
    """Asks for what is no sparsity."""

    def rounds(self, job: Any) -> Iterator[ticketkit.Round]:
        yield ticketkit.Round(job.select(0.5, within=3))


def test_a_strategy_that_stops_short_or_asks_nonsense_is_named() -> None:
    for strategy, words in (
        (Timid(), "part 'timid' .*its last round keeps 43 weights, where sparsity 0.8 keeps 14"),
        (Clumsy(), "part 'timid' .*a mask is a ticketkit.Mask, found 3"),
    ):
        with pytest.raises(ticketkit.PluginError, match=words):
            ticketkit.draw(Named(), scheme="unstructured", sparsity=0.8, strategy=strategy)


def test_an_earlier_round_that_was_damaged_since_is_no_matter(tmp_path: Path) -> None:
    run = tmp_path / "run"
    expected = draw(run)
    path = run / "round-001" / "ticket.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert draw(run, resume=True) == expected


# Fault row 21
def test_masks_only_shrink() -> None:
    with pytest.raises(ticketkit.UsageError, match=r"masks only shrink.* 0\.4 .*after 0\.8"):
        ticketkit.draw(Named(), scheme="unstructured", sparsity=0.8, strategy=Regrowing())


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("seed", 1),
        ("schedule", "small:epochs=3,batch=10,lr=0.05"),
        ("robustifier", "smoothing"),
        ("strategy", "imp:rate=0.3"),
        ("data", pictures(40)),
        ("exclude", ["*.bias"]),
    ],
)
def test_a_run_of_another_draw_is_refused(name: str, other: object, tmp_path: Path) -> None:
    draw(tmp_path / "run")
    with pytest.raises(ticketkit.UsageError, match="a run of another recipe"):
        draw(tmp_path / "run", resume=True, **{name: other})


def listen(monkeypatch: pytest.MonkeyPatch, function: Any, takes: tuple[str, ...]) -> None:
    plugin = Plugin("ear", "ear", "dist", "1.0")
    moment = Moment("ticketkit_round_finished", plugin, function, takes)
    found = ticketkit.catalogue()
    heard = Catalogue(found.offers, found.plugins, (moment,))
    monkeypatch.setattr("ticketkit.rounds.catalogue", lambda: heard)


def test_plugins_hear_of_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[ticketkit.FinishedRound] = []
    listen(monkeypatch, told.append, ("finished",))
    monkeypatch.setattr(Moment, "tell", lambda self, finished: self.function(finished))
    last = draw()
    assert [finished.number for finished in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1].ticket == last


def test_a_plugin_takes_of_the_arguments_what_it_names() -> None:
    told: list[str] = []
    plugin = Plugin("ear", "ear", "dist", "1.0")
    Moment("hook", plugin, lambda: told.append("nothing"), ()).tell(finished=SimpleNamespace())
    assert told == ["nothing"]


def test_a_plugin_that_fails_as_it_hears_is_named_and_the_draw_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def deaf(finished: object) -> None:
        raise ValueError("what?")

    listen(monkeypatch, deaf, ("finished",))
    match = r"plugin ear \(dist 1\.0\) failed as it was told of round \d: ValueError: what\?"
    with pytest.warns(UserWarning, match=match):
        draw()
