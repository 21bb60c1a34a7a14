"""`ticketkit compare`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.result_documents import PGD, estimate, results, transfer_document, write_runs


def write(folder: Path, sparsities: tuple[float, ...] = (0.5, 0.9, 0.95)) -> None:
    """Results of three seeds: robust gains 5 points on average at 0.9, and more at 0.95."""
    for name, prior, gain in (("robust", PGD, 1.0), ("natural", None, 0.0)):
        documents = [
            transfer_document(
                sparsity,
                seed,
                prior,
                results(0.5 + gain * (i * 0.05 + (seed - 1) / 100), 0.25 + gain / 2),
            )
            for i, sparsity in enumerate(sparsities)
            for seed in range(3)
        ]
        write_runs(folder / name, documents)


def test_a_table_a_figure_and_the_rule_are_printed(cli: Cli, folder: Path) -> None:
    write(folder)
    result = cli("compare", "robust", "natural")
    assert (result.status, result.err) == (0, "")
    # The interval of a mean of (-1, 0, 1) points is 4.302653 / sqrt(3) = 2.484 points wide a side.
    assert result.out == (
        "transfer: digits:size=16,labels=100,corruption=none,severity=0.3, linear,\n"
        "resnet10:width=16,stem=small\n"
        "tickets by omp, unstructured, magnitude, global\n"
        "Robust: robust, prior pgd:norm=l2,eps=0.5,steps=2\n"
        "Natural: natural, prior natural\n"
        "n counts pretraining seeds; what shares one is averaged first\n"
        "\n"
        "accuracy.top1, %, higher is better\n"
        "sparsity  Robust  Natural  difference    95 % interval  n  verdict\n"
        "     0.5   50.00    50.00       +0.00   -2.48 to +2.48  3  Match\n"
        "     0.9   55.00    50.00       +5.00   +2.52 to +7.48  3  Robust\n"
        "    0.95   60.00    50.00      +10.00  +7.52 to +12.48  3  Robust\n"
        " overall   57.50    50.00       +7.50   +5.02 to +9.98  3  Robust\n"
        "\n"
        "adversarial.pgd10-0.25, %, higher is better\n"
        "(norm=l2, eps=0.25, steps=10)\n"
        "sparsity  Robust  Natural  difference     95 % interval  n  verdict\n"
        "     0.5   75.00    25.00      +50.00  +50.00 to +50.00  3  Robust\n"
        "     0.9   75.00    25.00      +50.00  +50.00 to +50.00  3  Robust\n"
        "    0.95   75.00    25.00      +50.00  +50.00 to +50.00  3  Robust\n"
        " overall   75.00    25.00      +50.00  +50.00 to +50.00  3  Robust\n"
        "\n"
        "Rule: a figure's difference is the first side's less the second's, paired over\n"
        "seeds, with Student's 95 % interval; where the interval excludes 0 the better\n"
        "side wins, where it holds 0 they match, which is no proof that they are equal,\n"
        "and with fewer than 3 seeds it is undecided; overall is each seed's mean over\n"
        "the sparsities of 0.9 and more.\n"
    )


def test_json_is_one_document(cli: Cli, folder: Path) -> None:
    write(folder)
    document = cli("compare", "robust", "natural", "--json", "--figure", "accuracy").document
    assert document["schema"] == "ticketkit.compare/1"
    assert document["rule"].items() >= {"level": 0.95, "least": 3, "high": 0.9}.items()
    (figure,) = document["groups"][0]["figures"]
    assert [row["sparsity"] for row in figure["sparsities"]] == [0.5, 0.9, 0.95]
    assert figure["overall"]["difference"] == pytest.approx(0.075)


def test_quiet_prints_nothing_but_errors(cli: Cli, folder: Path) -> None:
    write(folder)
    Path("robust/x.json").write_text("{}")
    result = cli("compare", "robust", "natural", "-q")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert cli("compare", "robust", "nothing", "-q").err


def test_without_a_high_sparsity_there_is_no_overall(cli: Cli, folder: Path) -> None:
    write(folder, (0.5,))
    out = cli("compare", "robust", "natural", "--figure", "accuracy").out
    assert "\nno overall: no sparsity of 0.9 or more\n" in out
    assert "overall  " not in out


def test_sides_without_known_priors_win_by_their_own_names_cut_short(
    cli: Cli, folder: Path
) -> None:
    for name, value in (("a-folder-with-a-long-name\x1b", 30000.0), ("b", 70000.0)):
        documents = [
            transfer_document(
                0.9,
                None,
                None,
                {"cost:device=cpu": {"latency": estimate(value + seed, "ms", "lower")}},
                seed=seed,
            )
            for seed in range(3)
        ]
        write_runs(folder / name, documents)
    result = cli("compare", "a-folder-with-a-long-name\x1b", "b")
    assert result.status == 0
    assert "cost.latency, ms, lower is better\n(device=cpu)\n" in result.out
    assert "a-folder-wi…: a-folder-with-a-long-name\\x1b, prior not told\n" in result.out
    (row,) = [line for line in result.out.splitlines() if line.startswith("     0.9")]
    assert row.split() == [
        "0.9",
        "30,001",
        "70,001",
        "-40,000",
        "-40,000",
        "to",
        "-40,000",
        "3",
        "a-folder-wi…",
    ]
    assert "\x1b" not in result.out + result.err
    assert max(map(len, result.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("robust", "natural", "--figure", "acuracy"), 2, "did you mean 'accuracy.top1'"),
        (("robust",), 2, "Missing argument 'B'"),
        (("robust", "robust"), 2, "is on both sides"),
        (("robust", "nothing"), 3, "nothing: no such file or folder"),
        (("robust", "empty"), 3, "empty: no result of transfer or evaluate"),
        (("robust", "row.json"), 3, 'ticket.scheme: "unstructured", there "row"'),
        (("robust", "list.json"), 3, "list.json is no JSON object"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    arguments: tuple[str, ...], status: int, told: str, cli: Cli, folder: Path
) -> None:
    write(folder)
    Path("empty").mkdir()
    row = transfer_document(0.9, 0, None, results(0.5))
    row["ticket"]["parts"]["scheme"] = "row"
    Path("row.json").write_text(json.dumps(row))
    Path("list.json").write_text("[]")
    result = cli("compare", *arguments)
    assert (result.status, result.out) == (status, "")
    assert told in result.err
    assert result.err.count("\n") == 1


def test_it_imports_neither_torch_nor_a_plugin(folder: Path) -> None:
    write(folder)
    code = """
import sys
from ticketkit.cli import main
assert main(["compare", "robust", "natural"]) == 0
loaded = {name.partition(".")[0] for name in sys.modules} & {"torch", "ticketkit_plugins"}
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, capture_output=True)


@pytest.mark.slow
def test_runs_of_the_commands_themselves_are_paired_and_joined(cli: Cli, folder: Path) -> None:
    network = ("--arch", "resnet10:width=8,stem=small", "--fit", "small:epochs=1", "-q")
    task, quick = ("--task", "digits:labels=50,size=8"), ("--attack", "steps=1", "-q")
    for prior, robustifier in (("natural", ()), ("robust", ("--robustifier", "pgd:steps=1"))):
        for seed in (0, 1):
            name, runs = f"{prior}-{seed}", Path("runs", prior)
            source, ticket = f"{name}.safetensors", f"{name}.ticket.safetensors"
            glyphs = ("--task", "glyphs:count=200,size=8", "--seed", seed, "--attack", "steps=1")
            run = ("--run", runs / f"pretrain-{seed}", "-o", source)
            assert cli("pretrain", *glyphs, *network, *robustifier, *run).status == 0
            draw = ("prune", source, "--sparsity", 0.9, "--no-checkpoint", "-q")
            assert cli(*draw, "--allow-empty-layers").status == 0
            moved = ("transfer", ticket, source, *task, *quick, "-o", f"{name}.digits.safetensors")
            assert cli(*moved, "--run", runs / f"transfer-{seed}").status == 0
            worth = ("evaluate", f"{name}.digits.safetensors", "-e", "calibration", "-q")
            assert cli(*worth, "--run", runs / f"evaluate-{seed}").status == 0
    altered = Path("runs/natural/transfer-1/result/result.json")
    before = altered.read_text()
    altered.write_text(before.replace('"value": 0.', '"value": 0.9', 1))
    told = cli("compare", "runs/robust", "runs/natural").err
    assert f"note: passed over: {altered}: expected " in told
    altered.write_text(before)
    document = cli("compare", "runs/robust", "runs/natural", "--json").document
    moved, measured = sorted(
        document["groups"], key=lambda g: g["settings"]["command"] != "transfer"
    )
    assert moved["winners"] == measured["winners"] == ["Robust", "Natural"]
    for group, evaluators in ((moved, {"accuracy", "adversarial"}), (measured, {"calibration"})):
        assert group["counts"] == "pretraining seeds"
        assert {f["evaluator"].partition(":")[0] for f in group["figures"]} == evaluators
        for figure in group["figures"]:
            (row,) = figure["sparsities"]
            assert (row["sparsity"], row["n"], row["verdict"]) == (0.9, 2, "undecided")
            command = group["settings"]["command"]
            robust, natural = (
                [result(side, f"{command}-{seed}", figure) for seed in (0, 1)]
                for side in ("robust", "natural")
            )
            assert row["difference"] == pytest.approx((sum(robust) - sum(natural)) / 2)


def result(side: str, run: str, figure: dict[str, str]) -> float:
    """A figure in the result file of a run."""
    document = json.loads(Path("runs", side, run, "result/result.json").read_text())
    value: float = document["results"][figure["evaluator"]][figure["name"]]["value"]
    return value
