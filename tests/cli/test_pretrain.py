"""`ticketkit pretrain`: what it writes and prints, what it refuses, and how it goes on."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import cast

import pytest
import torch

import ticketkit
from tests.cli.conftest import Cli, Result
from tests.samples import names
from ticketkit.datasets import data_of
from ticketkit.files import reserve
from ticketkit.networks import network_of
from ticketkit.options import resolve
from ticketkit.parts import Task
from ticketkit.runs import open_run

TASK, NETWORK, FIT = "glyphs:count=200,size=8", "resnet10:width=8,stem=small", "small:epochs=1"


@pytest.fixture
def pretrain(cli: Cli) -> Cli:
    """Run `ticketkit pretrain`, with a small task and network where others are not given."""

    def run(*arguments: object, **options: object) -> Result:
        small = {"task": TASK, "arch": NETWORK, "fit": FIT, "attack": "steps=1"}
        given = {**small, "output": "m.safetensors", **options}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        return cli("pretrain", *words, *arguments)

    return run


ATTACK, CLEAN = "adversarial.pgd1-l2-0.25", "adversarial.clean"


def test_the_checkpoint_tells_what_it_is_and_the_run_holds_the_same(
    pretrain: Cli, folder: Path
) -> None:
    done = pretrain("--json", run="r", attack="steps=2")
    assert done.status == 0
    assert names(folder) == ["m.safetensors", "r"]
    held = ["MANIFEST.json", "model.safetensors", "result.csv", "result.json"]
    assert names(folder / "r/result") == held
    weights = (folder / "m.safetensors").read_bytes()
    assert weights == (folder / "r/result/model.safetensors").read_bytes()
    document = done.document
    assert (document["schema"], document["steps"]) == ("ticketkit.pretrain/1", 2)
    assert (document["run"], document["output"]) == ("r", "m.safetensors")
    checkpoint = ticketkit.open_checkpoint(folder / "m.safetensors")
    assert checkpoint.digest() == document["digest"]
    assert checkpoint.pretraining is not None
    assert checkpoint.pretraining.arch == NETWORK
    saved = json.loads((folder / "r/result/result.json").read_text())
    assert saved.items() <= document.items()


def test_it_is_fit_on_the_task(pretrain: Cli, folder: Path) -> None:
    assert pretrain("--quiet", seed=5).status == 0
    data = data_of(cast("Task", resolve("task", TASK))).train
    model = network_of(NETWORK, 62, 1, 5).to(memory_format=torch.channels_last)
    ticketkit.fit(model, data, schedule=FIT, seed=5)
    checkpoint = ticketkit.open_checkpoint(folder / "m.safetensors")
    state = model.state_dict()
    assert sorted(checkpoint) == sorted(state)
    assert all(torch.equal(checkpoint[name], state[name]) for name in state)


def test_results_go_to_standard_output_and_words_to_standard_error(pretrain: Cli) -> None:
    done = pretrain(robustifier="pgd:steps=1", run="r")
    assert re.fullmatch(r"epoch 1/1  loss \d\.\d{4}  learning rate 0\.0\d+\n", done.err)
    lines = done.out.splitlines()
    assert lines[:2] == [NETWORK, "on glyphs:size=8,count=200,seed=0"]
    assert lines[2].startswith("robustifier pgd:norm=linf,eps=")
    assert lines[3] == "200 training and 50 test pictures"
    measures = ["accuracy.top1", "accuracy.top5", "accuracy.per_class", ATTACK, CLEAN]
    assert [line.split()[0] for line in lines[6:11]] == measures
    assert lines[11].startswith("adversarial: norm=l2, eps=0.25, steps=1, step=none")
    assert lines[-2:] == ["run r", "wrote m.safetensors"]
    assert max(len(line) for line in lines if "robustifier" not in line) <= 80
    quiet = pretrain("--resume", "--quiet", robustifier="pgd:steps=1", run="r")
    assert quiet == Result(0, "", "")


def test_a_finished_run_says_the_same_again_and_writes_a_lost_output(
    pretrain: Cli, folder: Path
) -> None:
    first = pretrain("--json")
    weights, run = (folder / "m.safetensors").read_bytes(), folder / first.document["run"]
    again = pretrain("--json", "--resume")
    assert (again.status, again.out, again.err) == (0, first.out, "")
    (folder / "m.safetensors").unlink()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert pretrain("--json", "--resume").out == first.out
    assert (folder / "m.safetensors").read_bytes() == weights
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_an_output_that_is_another_file_is_refused_before_the_training(
    pretrain: Cli, folder: Path
) -> None:
    (folder / "m.safetensors").write_bytes(b"mine")
    message = "error: already there: m.safetensors; --force replaces what is there\n"
    assert pretrain() == Result(2, "", message)
    assert names(folder) == ["m.safetensors"]
    assert pretrain("--resume") == Result(2, "", message)
    assert pretrain("--resume", "--force", "--quiet").status == 0
    assert ticketkit.open_checkpoint(folder / "m.safetensors").pretraining is not None
    (folder / "m.safetensors").write_bytes(b"mine")
    assert pretrain("--resume") == Result(2, "", message)
    assert (folder / "m.safetensors").read_bytes() == b"mine"


def test_a_run_that_is_there_is_gone_on_with_only_where_that_is_asked(
    pretrain: Cli, folder: Path
) -> None:
    assert pretrain("--quiet", run="r").status == 0
    again = pretrain(output="n.safetensors", run="r", data="nowhere")
    assert again.err == "error: already there: r; --resume goes on with it, --run names another\n"
    assert again.status == 2
    assert names(folder) == ["m.safetensors", "r"]  # no data was made


# Fault rows 39, 47, 54, 58
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"robustifier": "pgd:eps=-1"}, "eps is a finite number of 0 or more, found -1.0"),
        ({"robustifier": "pgd:steps=-1"}, "steps is a whole number of 0 or more, found -1"),
        ({"robustifier": "pdg"}, "unknown robustifier 'pdg'; .*; did you mean 'pgd'?"),
        ({"attack": "eps=-1"}, "eps is a finite number of 0 or more, found -1.0"),
        ({"attack": "norm=l3"}, "'norm=l3': norm is one of linf, l2, found 'l3'"),
        ({"task": "glyps"}, "unknown task 'glyps'; .*; did you mean 'glyphs' or 'glyph-scenes'?"),
        ({"task": "glyphs:count=1"}, "glyphs: count is a whole number from 4, found 1"),
        ({"task": "glyphs:cont=9"}, "'glyphs:cont=9': no option 'cont'; .* mean 'count'?"),
        ({"fit": "smal"}, "unknown preset 'smal'; .*; did you mean 'small' or 'salman'?"),
        ({"fit": "small:epoch=1"}, "'small:epoch=1': no option 'epoch'; .* mean 'epochs'?"),
        ({"fit": "small:epochs=0"}, "a schedule is counted in .* found epochs=0, steps=0"),
        ({"arch": "resnet11"}, "unknown network 'resnet11'; did you mean '.*' or '.*' or '.*'?"),
        ({"arch": "vgg_11"}, "unknown network 'vgg_11'; did you mean 'vgg11' or '.*' or '.*'?"),
        ({"arch": "timm:resnet19"}, "unknown network 'resnet19' of timm; did .* or '.*' or '.*'?"),
        ({"arch": "resnet10:widht=3"}, "'resnet10:widht=3': no option 'widht'; .* 'width'?"),
        ({"arch": "fcn_resnet10"}, "'fcn_resnet10' is a segmenter, and the task is none"),
        ({"arch": "vgg11", "task": "glyph-scenes"}, "no segmenter has 'vgg11' as its backbone: .*"),
        ({"device": "cuda:99"}, "device 'cuda:99' was asked for; found .*"),
        ({"device": "nonsense"}, "no device 'nonsense'; found .*"),
        ({"seed": -1}, r"seed is a whole number from 0 to 2\*\*63 - 1, found -1"),
        (
            {"seed": 2**63},
            r"seed is a whole number from 0 .*, found 9223372036854775808",
        ),
        ({"workers": -1}, "workers is a number from 0 on, found -1"),
        ({"output": "m.pt"}, "a pretrained checkpoint is a safetensors file: .* found 'm.pt'"),
        ({"output": "-"}, "Invalid value for '-o' / '--output': a file of tensors is .*"),
    ],
    ids=str,
)
def test_what_can_be_known_is_refused_before_the_work_begins(
    options: dict[str, object], message: str, pretrain: Cli, folder: Path
) -> None:
    found = pretrain(data="data", **options)
    assert (found.status, found.out) == (2, "")
    assert re.fullmatch(f"error: {message.replace('?', '[?]')}\n", found.err), found.err
    assert names(folder) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"output": "nowhere/m.safetensors"},
            "nowhere/m.safetensors: not written: no such folder; what was there is untouched",
        ),
        ({"run": "file"}, "file: a file, where a folder is to be written"),
    ],
    ids=str,
)
def test_where_nothing_can_be_written_no_work_begins(
    options: dict[str, object], message: str, pretrain: Cli, folder: Path
) -> None:
    (folder / "file").write_bytes(b"mine")
    assert pretrain(data="data", **options) == Result(1, "", f"error: {message}\n")
    assert names(folder) == ["file"]


# Fault row 58
@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator")
def test_a_device_that_is_not_there_is_told_with_what_is(pretrain: Cli) -> None:
    assert pretrain(device="cuda").err == (
        "error: device 'cuda' was asked for; found the CPU alone (torch sees no accelerator)\n"
    )


# Fault row 39
@pytest.mark.parametrize("attack", ["eps=0", "steps=0"])
def test_under_no_attack_the_accuracy_is_the_clean_one_exactly(attack: str, pretrain: Cli) -> None:
    results = pretrain("--json", attack=attack).document["results"]
    (spec, attacked), clean = list(results.items())[1], results["accuracy"]["top1"]
    assert list(attacked.values()) == [clean, clean]
    assert attack in spec.replace("eps=0.0", "eps=0")


# Fault row 39
def test_a_perturbation_of_nothing_trains_as_naturally(pretrain: Cli, folder: Path) -> None:
    assert pretrain("--quiet").status == 0
    assert pretrain("--quiet", robustifier="pgd:eps=0", output="n.safetensors").status == 0
    one, other = (ticketkit.open_checkpoint(folder / f"{n}.safetensors").digest() for n in "mn")
    assert one == other


# Fault row 41
def test_a_learning_rate_that_diverges_is_named_and_what_was_saved_stands(
    pretrain: Cli, folder: Path
) -> None:
    found = pretrain(fit="small:lr=1e30,epochs=3", run="r")
    assert (found.status, found.out) == (1, "")
    assert re.fullmatch(
        r"error: the loss is nan at batch 2 of epoch 1, at learning rate 9\.99e\+29: a lower one "
        "may do; nothing was saved before\n",
        found.err,
    )
    assert names(folder) == ["r"]
    assert names(folder / "r") == ["events.jsonl", "run.json"]


# Fault row 53
def test_a_run_or_an_output_that_another_process_writes_is_left_alone(
    pretrain: Cli, folder: Path
) -> None:
    assert pretrain("--quiet", run="r").status == 0
    recipe = json.loads((folder / "r/run.json").read_text())["recipe"]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    holder = f"another run is writing it (ticketkit pid {os.getpid()} on {socket.gethostname()})"
    with open_run(folder / "r", recipe, resume=True):
        for resume in ([], ["--resume"]):
            found = pretrain(*resume, output="n.safetensors", run="r")
            assert found == Result(1, "", f"error: r: {holder}\n")
    with reserve(folder / "n.safetensors"):
        found = pretrain(output="n.safetensors", run="other")
        assert found == Result(1, "", f"error: n.safetensors: {holder}\n")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


# Fault row 54
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"fit": "small:epochs=2"}, 'fit was "epochs=1" and is "epochs=2"'),
        (
            {"task": "glyphs:count=204,size=8"},
            'task was "count=200" and is "count=204", data.test.',
        ),
        (
            {"arch": "resnet10:width=4,stem=small"},
            'arch was "resnet10:width=8" and is "resnet',
        ),
        ({"robustifier": "free"}, 'robustifier was null and is "free:'),
        ({"attack": "steps=9"}, 'attack was "steps=1" and is "steps=9"'),
    ],
    ids=str,
)
def test_another_recipe_is_refused_and_the_field_named(
    options: dict[str, object], message: str, pretrain: Cli, folder: Path
) -> None:
    assert pretrain("--quiet", run="r").status == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = pretrain("--resume", **{"output": "n.safetensors", "run": "r", **options})
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith(f"error: r: a run of another recipe: {message}")
    assert found.err.endswith("; name another folder with --run\n")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


# Fault row 54
def test_another_number_of_threads_is_noted(pretrain: Cli) -> None:
    before = torch.get_num_threads()
    assert pretrain("--quiet", run="r").status == 0
    try:
        torch.set_num_threads(before + 1)
        found = pretrain("--resume", run="r")
    finally:
        torch.set_num_threads(before)
    assert (found.status, found.err) == (
        0,
        f"note: r: threads was {before} and is {before + 1}: the bits may differ from an unbroken "
        "run's\n",
    )


# Fault row 55
def test_names_may_hold_spaces_and_any_letters(pretrain: Cli, folder: Path) -> None:
    options = {"output": "mein Netz, 網.safetensors", "run": "Läufe/a b", "data": "Dâten 0"}
    done = pretrain("--json", **options)
    assert (done.document["output"], done.document["run"]) == (options["output"], options["run"])
    assert pretrain("--resume", "--json", **options).out == done.out
    assert names(folder) == ["Dâten 0", "Läufe", "mein Netz, 網.safetensors"]


def test_a_classifier_becomes_a_segmenter_where_the_task_segments(pretrain: Cli) -> None:
    done = pretrain("--json", task="glyph-scenes:count=8", fit="small:epochs=1,batch=4")
    assert done.document["pretraining"]["arch"] == f"fcn_{NETWORK}"
    clean, attacked = done.document["results"].values()
    assert (list(clean), list(attacked)) == (["miou"], ["pgd1-l2-0.25", "clean"])
    assert clean["miou"] == attacked["clean"]
