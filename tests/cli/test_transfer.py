"""`ticketkit transfer`: what it keeps, replaces, writes and refuses."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import ticketkit
from tests.cli.conftest import Cli, Result
from tests.samples import names
from ticketkit.cli import main
from ticketkit.files import reserve
from ticketkit.networks import network_of
from ticketkit.opening import network_for
from ticketkit.saving import save_checkpoint

NETWORK = "resnet10:width=8,stem=small"
TASK, FIT = "digits:labels=50,size=8", "small:epochs=1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pretrained network of 62 classes, `m`, and its ticket, `t`."""
    folder = tmp_path_factory.mktemp("made")
    model, ticket = str(folder / "m.safetensors"), str(folder / "t.safetensors")
    task = ("--task", "glyphs:count=200,size=8", "--data", str(folder / "data"))
    words = ("--arch", NETWORK, "--fit", FIT, "--run", str(folder / "run"), "-q")
    assert main(["pretrain", *task, *words, "-o", model]) == 0
    draw = ("prune", model, "--sparsity", "0.8", "--ticket", ticket, "--no-checkpoint", "-q")
    assert main([*draw]) == 0
    return folder


@pytest.fixture
def transfer(cli: Cli, made: Path, folder: Path) -> Cli:
    """Run `ticketkit transfer t.safetensors m.safetensors`, a finetuning where that is all."""
    for name in ("m.safetensors", "t.safetensors"):
        shutil.copy(made / name, folder)

    def run(*arguments: object, checkpoint: str = "m.safetensors", **options: object) -> Result:
        given = {"task": TASK, "mode": "finetune", "fit": FIT, "attack": "steps=1", **options}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        return cli("transfer", "t.safetensors", checkpoint, *words, *arguments)

    return run


INPUTS = ["m.safetensors", "t.safetensors"]


# Fault rows 16, 42
@pytest.mark.parametrize(("mode", "fit"), [("finetune", FIT), ("linear", "small")])
def test_the_head_is_replaced_and_the_zeros_are_kept(
    mode: str, fit: str, transfer: Cli, cli: Cli, folder: Path
) -> None:
    done = transfer("--json", mode=mode, fit=fit, output="d.safetensors", run="r")
    assert done.status == 0
    document = done.document
    assert (document["schema"], document["mode"]) == ("ticketkit.transfer/1", mode)
    assert (document["transfer"]["classes"], document["source"]["classes"]) == (10, 62)
    assert document["revived"] == 0
    ticket = ticketkit.load_ticket(folder / "t.safetensors")
    assert document["removed"] == ticket.mask.size - ticket.mask.kept
    found = ticketkit.open_checkpoint(folder / "d.safetensors")
    assert found.digest() == document["digest"]
    before = ticketkit.open_checkpoint(folder / "m.safetensors")
    assert (found.shapes["fc.weight"], before.shapes["fc.weight"]) == ((10, 64), (62, 64))
    verified = cli("verify", "t.safetensors", "d.safetensors", "--json")
    assert (verified.status, verified.document["checkpoint"]["revived"]) == (0, 0)
    assert names(folder) == ["d.safetensors", "m.safetensors", "r", "t.safetensors"]
    # The file tells where it came from, whatever becomes of its run.
    shutil.rmtree(folder / "r")
    measured = cli("evaluate", "d.safetensors", "-e", "accuracy", "--json").document
    assert measured["results"]["accuracy"] == document["results"]["accuracy"]
    told = ("ticket", "source", "mode", "transfer")
    assert {name: measured[name] for name in told} == {name: document[name] for name in told}
    assert measured["notes"] == []


# Fault row 16
def test_a_head_of_another_size_is_an_error_where_it_is_not_to_be_replaced(
    transfer: Cli, cli: Cli, folder: Path
) -> None:
    checkpoint = ticketkit.open_checkpoint(folder / "m.safetensors")
    message = "m.safetensors: its head fc is for 62 classes, the network's for 10"
    with pytest.raises(ticketkit.MismatchError, match=message):
        network_for(checkpoint, None, 10, 1)
    prune = ("prune", "m.safetensors", "--sparsity", 0.5, "-q")
    found = cli(*prune, "--criterion", "taylor", "--task", TASK)
    assert found == Result(3, "", f"error: {message}\n")
    assert cli(*prune).status == 0
    pruned = ticketkit.open_checkpoint(folder / "m.pruned.safetensors")
    assert pruned.shapes == checkpoint.shapes
    assert network_of(NETWORK, 62, 1).load_state_dict(dict(pruned)).missing_keys == []


def test_results_go_to_standard_output_and_words_to_standard_error(transfer: Cli) -> None:
    done = transfer(run="r", output="d.safetensors")
    assert re.fullmatch(
        r"epoch 1/1  loss \d\.\d{4}  learning rate 0\.0\d+\n"
        r"note: new, and trained: fc\.weight, fc\.bias\n",
        done.err,
    )
    lines = done.out.splitlines()
    assert re.fullmatch(rf"{NETWORK} at sparsity 0\.79\d{{4}}, finetune", lines[0])
    assert lines[1] == f"on {TASK_IN_FULL}, natural"
    assert lines[2] == "50 training and 1,747 test pictures"
    figures = ["top1", "top5", "per_class", "pgd1-l2-0.25", "clean"]
    assert [line.split()[0].partition(".")[2] for line in lines[5:10]] == figures
    assert re.fullmatch(r"[\d,]+ weights are removed, 0 of them not zero", lines[-3])
    assert lines[-2:] == ["run r", "wrote d.safetensors"]
    assert max(map(len, lines)) <= 80, lines
    assert transfer("--resume", "--quiet", run="r") == Result(0, "", "")


TASK_IN_FULL = "digits:size=8,labels=50,split=0,corruption=none,severity=0.3"


@pytest.mark.parametrize(("mode", "fit"), [("finetune", FIT), ("linear", "small")])
def test_a_finished_run_says_the_same_again_and_writes_the_output_late(
    mode: str, fit: str, transfer: Cli, folder: Path
) -> None:
    first = transfer("--json", mode=mode, fit=fit)
    assert first.document["output"] is None
    assert names(folder) == ["m.safetensors", "runs", "t.safetensors"]
    again = transfer("--json", "--resume", mode=mode, fit=fit, output="d.safetensors")
    assert again.document == {**first.document, "output": "d.safetensors"}
    run = folder / first.document["run"]
    weights = (run / "result/model.safetensors").read_bytes()
    assert (folder / "d.safetensors").read_bytes() == weights


# Fault rows 39, 47, 58
@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"mode": "lineer"}, 2, "mode is one of finetune, linear; found 'lineer'"),
        ({"fit": "smal"}, 2, "unknown preset 'smal'; .* did you mean 'small' or 'salman'?"),
        ({"mode": "linear"}, 2, "newton runs until it converges: found epochs=1, .* takes them"),
        (
            {"mode": "linear", "fit": "small", "robustifier": "pgd"},
            2,
            "solver=newton is for a linear evaluation, natural .* solver=sgd, and epochs",
        ),
        ({"robustifier": "pgd:eps=-1"}, 2, "eps is a finite number of 0 or more, found -1.0"),
        ({"task": "digts"}, 2, "unknown task 'digts'; .* did you mean 'digits' .*"),
        (
            {"task": "digits:labels=0"},
            2,
            "digits: labels is a whole number .*, found 0",
        ),
        ({"arch": "resnet11"}, 2, "unknown network 'resnet11'; did you mean '.*' or '.*' or '.*'?"),
        ({"arch": "fcn_resnet10"}, 2, "'fcn_resnet10' is a segmenter, and the task is none"),
        ({"device": "cuda:99"}, 2, "device 'cuda:99' was asked for; found .*"),
        ({"output": "m.safetensors"}, 2, "the output would replace its input m.safetensors"),
        ({"output": "d.pt"}, 2, "the transferred weights are a safetensors file: .* 'd.pt'"),
        ({"output": "a/d.safetensors"}, 1, "a/d.safetensors: not written: no such folder; .*"),
        ({"run": "m.safetensors"}, 1, "m.safetensors: a file, where a folder is to be written"),
        ({"run": "."}, 2, ".: no run, but a folder that holds .*; --run names another"),
        ({"arch": "resnet10:width=4,stem=small"}, 3, "m.safetensors: .* another shape: .*"),
        ({"checkpoint": "t.safetensors"}, 3, "t.safetensors: a ticket, where a checkpoint .*"),
        ({"checkpoint": "x.safetensors"}, 3, "x.safetensors: no such file"),
    ],
    ids=str,
)
def test_what_is_refused_leaves_nothing_behind(
    options: dict[str, object], status: int, message: str, transfer: Cli, folder: Path
) -> None:
    found = transfer(**options)
    assert (found.status, found.out) == (status, "")
    assert re.fullmatch(f"error: {message.replace('?', '[?]')}\n", found.err), found.err
    assert names(folder) == INPUTS


def test_other_weights_than_the_tickets_own_are_refused(transfer: Cli, folder: Path) -> None:
    first = transfer("--quiet", output="d.safetensors", run="r")
    assert first.status == 0
    found = transfer(checkpoint="d.safetensors", run="s")
    assert (found.status, found.out) == (3, "")
    assert found.err.startswith("error: these are other weights than those the ticket was drawn")
    assert transfer("--no-verify", "--quiet", checkpoint="d.safetensors", run="s").status == 0


# Fault row 41
def test_a_learning_rate_that_diverges_is_named(transfer: Cli, folder: Path) -> None:
    found = transfer(fit="small:lr=1e30,epochs=9", output="d.safetensors", run="r")
    assert (found.status, found.out) == (1, "")
    assert re.search(
        r"^error: the loss is (nan|inf) at batch 1 of epoch \d, at learning rate .*: a lower one "
        r"may do; (nothing was saved before|the last good state is saved in r)\n$",
        found.err,
        re.M,
    )
    assert names(folder) == ["m.safetensors", "r", "t.safetensors"]


def test_a_run_of_the_same_weights_under_another_normalisation_is_refused(
    transfer: Cli, folder: Path
) -> None:
    assert transfer("--quiet", run="r").status == 0
    file = ticketkit.open_checkpoint(folder / "m.safetensors")
    assert file.pretraining is not None
    told = replace(file.pretraining, normalisation={"mean": (0.5,), "std": (2.0,)})
    with reserve(folder / "n.safetensors") as output:
        save_checkpoint(output, dict(file), told)
    found = transfer("--resume", run="r", checkpoint="n.safetensors")
    assert (found.status, found.out) == (2, "")
    assert "a run of another recipe: normalisation.mean was not there" in found.err


# Fault row 54
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"mode": "linear", "fit": "small"}, 'fit was "'),
        ({"task": "digits:labels=60,size=8"}, 'task was "labels=50" and is "labels=60"'),
        ({"task": "digits:labels=50,size=8,split=1"}, 'task was "split=0" and is "split=1"'),
        ({"checkpoint": "d.safetensors"}, 'checkpoint was "'),
    ],
    ids=str,
)
def test_another_recipe_is_refused_and_the_field_named(
    options: dict[str, str], message: str, transfer: Cli, folder: Path
) -> None:
    assert transfer("--quiet", run="r", output="d.safetensors").status == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = transfer("--resume", "--no-verify", run="r", **options)
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith(f"error: r: a run of another recipe: {message}")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_ticket_of_a_classifier_becomes_that_of_a_segmenter(transfer: Cli, cli: Cli) -> None:
    options = {"task": "glyph-scenes:count=8", "fit": "small:epochs=1,batch=4"}
    done = transfer("--json", output="s.safetensors", **options)
    assert done.document["transfer"]["arch"] == f"fcn_{NETWORK}"
    clean, attacked = done.document["results"].values()
    assert (list(clean), list(attacked)) == (["miou"], ["pgd1-l2-0.25", "clean"])
    assert done.document["revived"] == 0
    assert json.loads(done.out) == done.document
    measured = cli("evaluate", "s.safetensors", "--json").document
    assert (measured["crop"], measured["results"]["miou"]) == (None, clean)
    crop = cli("evaluate", "s.safetensors", "--crop", 8)
    told = "error: crop: where each pixel has a class, whole pictures are measured\n"
    assert crop == Result(2, "", told)
