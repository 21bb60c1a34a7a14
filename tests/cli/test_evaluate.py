"""`ticketkit evaluate`: what it measures, keeps, writes and refuses."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ticketkit
from tests.cli.conftest import Cli, Result
from tests.samples import names
from ticketkit.cli import main
from ticketkit.datasets import data_of
from ticketkit.files import reserve
from ticketkit.networks import network_of
from ticketkit.options import resolve
from ticketkit.saving import save_checkpoint

NETWORK = "resnet10:width=8,stem=small"
TASK = "glyphs:count=200,size=8"
ATTACK = "adversarial:norm=l2,eps=0.1,steps=1,count=40"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network that was pretrained for a moment, `m`, and its ticket, `t`."""
    folder = tmp_path_factory.mktemp("made")
    model, ticket = str(folder / "m.safetensors"), str(folder / "t.safetensors")
    words = ("--arch", NETWORK, "--fit", "small:epochs=1", "--run", str(folder / "run"), "-q")
    assert main(["pretrain", "--task", TASK, *words, "-o", model]) == 0
    draw = ("prune", model, "--sparsity", "0.8", "--ticket", ticket, "--no-checkpoint", "-q")
    assert main([*draw]) == 0
    return folder


@pytest.fixture
def evaluate(cli: Cli, made: Path, folder: Path) -> Cli:
    """Run `ticketkit evaluate m.safetensors`, by its accuracy and an attack where nothing else."""
    for name in ("m.safetensors", "t.safetensors"):
        shutil.copy(made / name, folder)

    def run(*arguments: object, of: tuple[str, ...] = ("accuracy", ATTACK)) -> Result:
        measures = [word for spec in of for word in ("-e", spec)]
        return cli("evaluate", "m.safetensors", *measures, *arguments)

    return run


INPUTS = ["m.safetensors", "t.safetensors"]


def test_the_document_is_what_python_measures(evaluate: Cli, folder: Path) -> None:
    document = evaluate("--json").document
    model = network_of(NETWORK, 62, 1)
    model.load_state_dict(dict(ticketkit.open_checkpoint(folder / "m.safetensors")))
    test = data_of(resolve("task", TASK)).test  # type: ignore[arg-type]
    found = ticketkit.evaluate(model, test, ["accuracy", ATTACK])
    for (spec, figures), ours in zip(document["results"].items(), found.values(), strict=True):
        assert spec.partition(":")[0] in ("accuracy", "adversarial")
        assert figures == {name: vars(each) for name, each in ours.items()}


def test_the_document_tells_every_setting(evaluate: Cli) -> None:
    document = evaluate("--json", "--seed", 3).document
    assert document["schema"] == "ticketkit.evaluate/1"
    assert document["version"] == ticketkit.__version__
    assert (document["task"], document["arch"]) == ("glyphs:size=8,count=200,seed=0", NETWORK)
    assert (document["seed"], document["batch"], document["crop"]) == (3, 256, None)
    assert document["data"]["test"]["count"] == 50
    assert document["checkpoint"]["file"] == "m.safetensors"
    assert document["source"]["fit"].startswith("epochs=1,")
    assert list(document["results"])[1].startswith("adversarial:norm=l2,eps=0.1,steps=1,step=none")
    assert document["environment"]["device"] == "cpu"
    assert document["versions"]["ticketkit"] == ticketkit.__version__
    assert (document["ticket"], document["notes"]) == (None, [])


def test_json_prints_exactly_what_the_files_hold_with_a_table_beside(
    evaluate: Cli, folder: Path
) -> None:
    done = evaluate("--json", "-o", "worth.json", "--run", "r")
    assert (done.status, done.err) == (0, "")
    assert (
        done.out
        == (folder / "worth.json").read_text()
        == (folder / "r/result/result.json").read_text()
    )
    table = (folder / "worth.csv").read_text()
    assert table == (folder / "r/result/result.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["figure"] for row in rows] == ["top1", "top5", "per_class", "fgsm-l2-0.1", "clean"]
    top1 = done.document["results"]["accuracy"]["top1"]
    assert {name: float(rows[0][name]) for name in ("value", "n", "low", "high")} == {
        name: top1[name] for name in ("value", "n", "low", "high")
    }
    assert names(folder) == sorted([*INPUTS, "r", "worth.csv", "worth.json"])


def test_people_get_a_table_that_fits_a_terminal(evaluate: Cli) -> None:
    done = evaluate("-o", "worth.json", "--run", "r")
    lines = done.out.splitlines()
    assert lines[0] == f"m.safetensors, {NETWORK}"
    assert lines[1] == "on glyphs:size=8,count=200,seed=0, 50 test pictures"
    assert lines[3].split() == ["measure", "value", "95", "%", "interval", "n"]
    assert [line.split()[0] for line in lines[4:9]] == [
        *("accuracy.top1", "accuracy.top5", "accuracy.per_class"),
        *("adversarial.fgsm-l2-0.1", "adversarial.clean"),
    ]
    assert " % " in lines[4]
    assert lines[9].startswith("adversarial: norm=l2, eps=0.1, steps=1,")
    assert lines[-2:] == ["run r", "wrote worth.json and worth.csv"]
    assert max(map(len, lines)) <= 80
    assert evaluate("--run", "r", "--resume", "--quiet") == Result(0, "", "")


def test_figures_of_one_evaluator_with_other_options_are_told_apart(evaluate: Cli) -> None:
    lines = evaluate(of=("calibration:bins=5", "accuracy", "calibration")).out.splitlines()
    assert [line.split()[0] for line in lines[4:11]] == [
        *("calibration#1.ece", "calibration#1.nll"),
        *("accuracy.top1", "accuracy.top5", "accuracy.per_class"),
        *("calibration#2.ece", "calibration#2.nll"),
    ]
    assert "calibration#1: bins=5" in lines
    assert "calibration#2: bins=15" in lines


def test_the_tasks_own_metric_is_measured_where_nothing_is_asked(evaluate: Cli) -> None:
    assert list(evaluate("--json", of=()).document["results"]) == ["accuracy"]


def test_a_ticket_is_measured_with_its_zeros(evaluate: Cli, cli: Cli, folder: Path) -> None:
    found = evaluate("--json", "--ticket", "t.safetensors").document
    assert found["ticket"]["sparsity"]["requested"] == 0.8
    assert len(found["ticket"]["sha256"]) == 64
    zeros, statistics = found["notes"]
    assert zeros.endswith("weights that the ticket removes were set to zero")
    assert "BatchNorm statistics are still those of the dense network" in statistics
    assert cli("apply", "t.safetensors", "m.safetensors", "-o", "p.safetensors", "-q").status == 0
    pruned = cli("evaluate", "p.safetensors", "-e", "accuracy", "-e", ATTACK, "--json")
    assert pruned.document["results"] == found["results"]
    (untold,) = pruned.document["notes"]
    assert re.match(
        r"8\d\.\d% of its prunable weights are zero: results count it as dense, ", untold
    )
    both = cli("evaluate", "p.safetensors", "--ticket", "t.safetensors", "-e", "accuracy", "--json")
    assert both.document["notes"] == []


def test_a_ticket_of_other_weights_is_refused(evaluate: Cli, folder: Path) -> None:
    weights = dict(ticketkit.open_checkpoint(folder / "m.safetensors"))
    weights["conv1.weight"] = weights["conv1.weight"] + 1
    told = ticketkit.open_checkpoint(folder / "m.safetensors").pretraining
    assert told is not None
    (folder / "m.safetensors").unlink()
    with reserve(folder / "m.safetensors") as output:
        save_checkpoint(output, weights, told)
    done = evaluate("--ticket", "t.safetensors")
    assert (done.status, done.out) == (3, "")
    assert "drawn from" in done.err
    assert evaluate("--ticket", "t.safetensors", "--no-verify", "-q").status == 0


class Interrupted(Exception):
    """What a test raises."""


def test_an_interrupted_command_goes_on_after_the_evaluators_that_were_finished(
    evaluate: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate("--json", "--run", "whole")
    attack = ticketkit.attacks.attack
    monkeypatch.setattr(
        "ticketkit.attacking.attack", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert evaluate("--run", "r").status == 130
    assert names(folder / "r") == ["evaluator-01-figures", "events.jsonl", "run.json"]
    monkeypatch.setattr("ticketkit.attacking.attack", attack)
    kept = (folder / "r/evaluator-01-figures/figures.json").read_text()
    again = evaluate("--json", "--run", "r", "--resume")
    assert again.out == whole.out
    assert (folder / "r/evaluator-01-figures/figures.json").read_text() == kept


def test_a_finished_run_says_the_same_and_a_damaged_figure_is_measured_again(
    evaluate: Cli, folder: Path
) -> None:
    first = evaluate("--json", "--run", "r")
    assert evaluate("--json", "--run", "r", "--resume").out == first.out
    shutil.rmtree(folder / "r/result")
    (folder / "r/evaluator-01-figures/figures.json").write_text("{}")
    again = evaluate("--json", "--run", "r", "--resume").document
    assert "was renamed evaluator-01-figures.bad" in again["notes"][0]
    assert again["results"] == first.document["results"]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("--task", "digits:size=8"), 3, "its head fc is for 62 classes, the network's for 10"),
        (("--task", "gliphs"), 2, "unknown task 'gliphs'"),
        (("-e", "acuracy"), 2, "unknown evaluator 'acuracy'"),
        (("-e", "accuracy:bins=3"), 2, "no option 'bins'"),
        (("-e", "ood:against=folder"), 2, "'folder' needs an option path=..."),
        (("--batch", "0"), 2, "batch is a number of pictures from 1 on, found 0"),
        (("--seed", "-1"), 2, "seed is a whole number from 0"),
        (("-o", "worth.txt"), 2, "end its name in .json, found 'worth.txt'"),
        (("--crop", "-1"), 2, "crop is a number of pixels, 0 for whole pictures; found -1"),
        (("--ticket", "none.safetensors"), 3, "none.safetensors: no such file"),
        (("--device", "cuda:99"), 2, "device 'cuda:99' was asked for"),
        (("--download",), 2, "downloads nothing"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], status: int, told: str, evaluate: Cli, folder: Path
) -> None:
    done = evaluate(*arguments)
    assert (done.status, done.out) == (status, "")
    assert told in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert names(folder) == INPUTS


def test_a_file_that_tells_nothing_needs_a_task_and_a_network(cli: Cli, folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(network_of(NETWORK, 62, 1).state_dict(), folder / "bare.safetensors")
    done = cli("evaluate", "bare.safetensors")
    assert done.status == 2
    assert "bare.safetensors does not tell what task it was trained on: give one with" in done.err
    done = cli("evaluate", "bare.safetensors", "--task", TASK)
    assert (done.status, "give it with --arch" in done.err) == (2, True)
    done = cli("evaluate", "bare.safetensors", "--task", TASK, "--arch", NETWORK, "--json")
    assert done.document["source"] is None
    assert "normalis" in " ".join(done.document["notes"])


def test_outputs_that_are_there_are_refused_before_anything_is_measured(
    evaluate: Cli, folder: Path
) -> None:
    (folder / "worth.csv").write_text("mine")
    done = evaluate("-o", "worth.json")
    assert done == Result(
        2, "", "error: already there: worth.csv; --force replaces what is there\n"
    )
    assert names(folder) == [*INPUTS, "worth.csv"]
    assert evaluate("-o", "worth.json", "--force", "-q").status == 0
    assert json.loads((folder / "worth.json").read_text())["schema"] == "ticketkit.evaluate/1"


def test_a_run_of_the_same_weights_under_another_normalisation_is_refused(
    evaluate: Cli, folder: Path
) -> None:
    assert evaluate("--run", "r", "-q").status == 0
    file = ticketkit.open_checkpoint(folder / "m.safetensors")
    weights, told = dict(file), file.pretraining
    assert told is not None
    (folder / "m.safetensors").unlink()
    with reserve(folder / "m.safetensors") as output:
        save_checkpoint(output, weights, replace(told, normalisation={"mean": (0.5,), "std": (2,)}))
    done = evaluate("--run", "r", "--resume")
    assert (done.status, done.out) == (2, "")
    assert "a run of another recipe: " in done.err
    assert "normalisation.mean was not there and is [0.5]" in done.err


def test_warnings_are_lines_without_a_place_in_our_code(evaluate: Cli) -> None:
    long = "adversarial:norm=l2,eps=0.01,steps=1,step=0.5,count=10"  # Fault row 39
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        done = evaluate(of=(long,))
        assert evaluate("--run", "q", "-q", of=(long,)) == Result(0, "", "")
    assert done.status == 0
    assert done.err.startswith("warning: a step of 0.5 is longer than the ball is wide, 2 * 0.01: ")
    assert "UserWarning" not in done.err


def test_a_resumed_command_replaces_its_own_output_and_no_other(
    evaluate: Cli, folder: Path
) -> None:
    first = evaluate("--json", "--run", "r", "-o", "worth.json")
    table = (folder / "worth.csv").read_text()
    again = ("--json", "--run", "r", "--resume", "-o", "worth.json")
    (folder / "worth.csv").unlink()
    assert evaluate(*again).out == first.out
    assert (folder / "worth.csv").read_text() == table
    for run in ("r", "new"):
        (folder / "worth.csv").write_text("mine")
        done = evaluate("--run", run, "--resume", "-o", "worth.json")
        assert (done.status, done.out) == (2, "")
        assert "already there: " in done.err
        assert (folder / "worth.csv").read_text() == "mine"
    assert evaluate(*again, "--force").out == first.out
    assert (folder / "worth.csv").read_text() == table


def test_the_same_command_line_again_tells_what_was_measured(evaluate: Cli, folder: Path) -> None:
    first = evaluate()
    assert first.out.splitlines()[-1].startswith("run runs/evaluate-")
    again = evaluate()
    assert again.out == first.out.rstrip("\n") + ", which had measured this before\n"
    assert len(names(folder / "runs")) == 1


def test_a_run_of_another_recipe_is_refused(evaluate: Cli) -> None:
    assert evaluate("--run", "r", "-q").status == 0
    done = evaluate("--run", "r", "--resume", "--seed", 9)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: r: a run of another recipe: seed was 0 and is 9")
    assert evaluate("--run", "r").err.startswith("error: already there: r; --resume goes on")


MINE = """
import pathlib, torch, ticketkit, beside

class Mine(ticketkit.Evaluator):
    name = "mine"
    def evaluate(self, model, data, context):
        return {"sum": ticketkit.Estimate(float(sum(x.sum() for x, _ in data)) + ADDED, len(data))}


class Task(ticketkit.Task):
    name = "mine"
    classes, normalisation = 62, {}
    def splits(self, root):
        images = torch.full((8, 1, 8, 8), float(pathlib.Path("fill").read_text()))
        data = torch.utils.data.TensorDataset(images, torch.arange(8))
        return {"train": data, "test": data}
"""


@pytest.mark.parametrize(
    "change",
    [
        ("ADDED", "1"),
        ("FILL", "0.75"),
        ("BESIDE", "2"),
        ("--seed", "1"),
        ("--ticket", "t.safetensors"),
        ("-e", "accuracy"),
    ],
)
def test_whatever_may_change_a_figure_is_measured_anew(
    change: tuple[str, str], evaluate: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    name, value = change

    def measured(*arguments: str, **texts: str) -> str:
        (folder / "mine.py").write_text(MINE.replace("ADDED", texts.get("ADDED", "0")))
        (folder / "fill").write_text(texts.get("FILL", "0.5"))
        (folder / "beside.py").write_text(f"# {texts.get('BESIDE')}")
        for module in ("mine", "beside"):
            sys.modules.pop(module, None)
        importlib.invalidate_caches()
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        done = evaluate("--task", "mine:Task", *arguments, of=("mine:Mine",))
        assert (done.status, done.err.count("error")) == (0, 0), done.err
        return done.out

    before = "which had measured this before"
    assert before not in measured()
    assert before in measured()
    assert before in measured("--batch", "3")  # which changes no figure
    options, texts = (change, {}) if name.startswith("-") else ((), {name: value})
    assert before not in measured(*options, **texts)
    assert len(names(folder / "runs")) == 2


def test_what_other_tasks_hold_counts_too(
    evaluate: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / "mine.py").write_text(MINE)
    (folder / "beside.py").touch()
    sys.modules.pop("mine", None)
    for fill, again in (("0.5", False), ("0.5", True), ("0.75", False)):
        (folder / "fill").write_text(fill)
        done = evaluate(of=("ood:against=mine:Task",))
        assert ("which had measured this before" in done.out) == again, done.err


def test_the_same_weights_in_another_file_have_its_name(
    evaluate: Cli, cli: Cli, folder: Path
) -> None:
    first = evaluate("--json").document
    shutil.copy(folder / "m.safetensors", folder / "n.safetensors")
    words = ("evaluate", "n.safetensors", "-e", "accuracy", "-e", ATTACK, "-o", "n.json")
    for _ in range(2):  # the second time over the output of the first
        again = cli(*words, "--json")
        assert again.document["checkpoint"] == {**first["checkpoint"], "file": "n.safetensors"}
        assert (folder / "n.json").read_text() == again.out
    assert len(names(folder / "runs")) == 1


def test_a_file_of_another_size_and_other_threads_are_measured_anew(
    evaluate: Cli, cli: Cli, folder: Path
) -> None:
    assert evaluate("-q").status == 0
    file = ticketkit.open_checkpoint(folder / "m.safetensors")
    torch.save(dict(file), folder / "m.pt")  # which tells nothing of itself
    told = ("--task", TASK, "--arch", NETWORK)
    assert cli("evaluate", "m.pt", *told, "-e", "accuracy", "-e", ATTACK, "-q").status == 0
    assert len(names(folder / "runs")) == 2
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert evaluate("-q").status == 0
    finally:
        torch.set_num_threads(threads)
    assert len(names(folder / "runs")) == 3


def test_weights_that_are_not_finite_are_told_by_their_layer(evaluate: Cli, folder: Path) -> None:
    # Fault row 22
    file = ticketkit.open_checkpoint(folder / "m.safetensors")
    weights, told = dict(file), file.pretraining
    assert told is not None
    weights["fc.bias"][3] = torch.nan
    with reserve(folder / "n.safetensors") as output:
        save_checkpoint(output, weights, told)
    (folder / "n.safetensors").rename(folder / "m.safetensors")
    error = "error: m.safetensors: fc.bias: 1 of 62 weights are NaN or infinite\n"
    assert evaluate() == Result(3, "", error)


def test_what_a_ticket_removes_may_be_anything(evaluate: Cli, folder: Path) -> None:
    expected = evaluate("--ticket", "t.safetensors", "--json").document["results"]
    ticket = ticketkit.load_ticket(folder / "t.safetensors")
    name = max(ticket.mask, key=lambda each: ticket.mask[each].numel())
    file = ticketkit.open_checkpoint(folder / "m.safetensors")
    weights, told = dict(file), file.pretraining
    assert told is not None
    weights[name][~ticket.mask[name]] = torch.nan
    with reserve(folder / "n.safetensors") as output:
        save_checkpoint(output, weights, told)
    (folder / "n.safetensors").rename(folder / "m.safetensors")
    found = evaluate("--ticket", "t.safetensors", "--no-verify", "--json").document["results"]
    assert found == expected
    assert f"m.safetensors: {name}: " in evaluate().err


def test_a_schedule_of_the_file_that_is_unknown_asks_for_the_crop(
    evaluate: Cli, folder: Path
) -> None:
    file = ticketkit.open_checkpoint(folder / "m.safetensors")
    weights, told = dict(file), file.pretraining
    assert told is not None
    with reserve(folder / "n.safetensors") as output:
        save_checkpoint(output, weights, replace(told, fit="later:foo=1"))
    (folder / "n.safetensors").rename(folder / "m.safetensors")
    done = evaluate()
    assert done.status == 2
    assert done.err.startswith(
        "error: m.safetensors: the schedule that it tells is none here, so give --crop PIXELS, 0 "
    )
    assert evaluate("--crop", "0", "-q").status == 0


@pytest.mark.parametrize(
    ("option", "code"), [("arch", "os:mkdir:path=made"), ("arch", "os:abort"), ("task", "os:abort")]
)
def test_no_file_may_choose_what_code_is_run(
    option: str, code: str, evaluate: Cli, cli: Cli, folder: Path
) -> None:
    file = ticketkit.open_checkpoint(folder / "m.safetensors")
    weights, told = dict(file), file.pretraining
    assert told is not None
    with reserve(folder / "n.safetensors") as output:
        save_checkpoint(output, weights, replace(told, **{option: code}))  # type: ignore[arg-type]
    (folder / "n.safetensors").rename(folder / "m.safetensors")
    error = (
        f"error: m.safetensors tells of code, {code!r}, which no file may run: give it with "
        f"--{option} if you trust it\n"
    )
    assert evaluate() == Result(2, "", error)
    if option == "arch":
        words = ("transfer", "t.safetensors", "m.safetensors", "--task", TASK)
        assert cli(*words) == Result(2, "", error)
        assert evaluate("--arch", NETWORK, "-q").status == 0
    assert not (folder / "made").exists()


def test_data_of_other_tasks_is_not_downloaded(
    cli: Cli, folder: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / "fill").write_text("0.5")
    (folder / "beside.py").touch()
    sys.modules.pop("mine", None)
    fetches = "class Fetched(Task):\n    def download(self, root):\n        pass\n"
    (folder / "mine.py").write_text(MINE + fetches)
    words = ("--task", "mine:Fetched", "--download", "-e", "ood:against=glyphs+mine:Fetched", "-q")
    assert cli("evaluate", made / "m.safetensors", *words) == Result(0, "", "")


def test_the_same_command_line_again_has_the_same_outputs(evaluate: Cli, folder: Path) -> None:
    assert evaluate("-o", "worth.json").status == 0
    table = (folder / "worth.csv").read_text()
    assert evaluate("-o", "worth.json").status == 0
    (folder / "worth.csv").write_text("mine")
    assert "already there: worth.csv" in evaluate("-o", "worth.json").err
    assert evaluate("-o", "worth.json", "--force").status == 0
    assert (folder / "worth.csv").read_text() == table


def test_a_run_of_another_version_of_an_evaluator_is_refused(
    evaluate: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluate("--run", "r", "-q").status == 0
    monkeypatch.setattr("ticketkit.evaluating.versions_of", lambda *_: {"ticketkit": "9.9"})
    done = evaluate("--run", "r", "--resume")
    assert (done.status, done.out) == (2, "")
    assert 'versions.ticketkit was "0.1.0" and is "9.9"' in done.err
