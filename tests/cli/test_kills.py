"""kill -9 at random moments: nothing is lost, and a resumed training ends in the same bits."""

from __future__ import annotations

import filecmp
import json
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.forking import Ended, Forks, Step, read, see, send, wait
from ticketkit.manifests import Stage, fault_of, is_stage_name

pytestmark = pytest.mark.slow

KILLS = 20
NETWORK = "resnet10:width=8,stem=small"
PRETRAIN = (
    *("pretrain", "--task", "glyphs:count=300,size=8", "--arch", NETWORK, "--seed", 3),
    *("--fit", "small:epochs=40,batch=64", "--data", "data", "--run", "run"),
    *("-o", "out.safetensors", "--resume"),
)
TRANSFER = (
    *("transfer", "../m.ticket.safetensors", "../m.safetensors", "--mode", "finetune"),
    *("--task", "digits:labels=200,size=8", "--fit", "small:epochs=40,batch=40", "--run", "run"),
    *("-o", "out.safetensors", "--resume"),
)
DRAW = (
    *("prune", "../m.safetensors", "--strategy", "imp", "--sparsity", 0.9, "--seed", 3),
    *("--task", "digits:labels=200,size=8", "--fit", "small:epochs=8,batch=40"),
    *("--robustifier", "pgd:norm=l2,eps=0.5,steps=1", "--run", "run", "--resume"),
    *("--ticket", "out.safetensors", "--no-checkpoint"),
)
TRAIN = "tests.cli.stepwise:train"

Run = Callable[..., Ended]


# Fault row 51
@pytest.mark.parametrize("arguments", [PRETRAIN, TRANSFER], ids=["pretrain", "transfer"])
def test_a_command_that_is_killed_again_and_again_ends_in_the_same_bits(
    arguments: Sequence[object], tmp_path: Path, ready_made: Forks
) -> None:
    if arguments is TRANSFER:
        draw_a_ticket(tmp_path, ready_made)

    def run(folder: Path, *script: Step) -> Ended:
        return ready_made.run(folder, *arguments, script=script)

    attempts = kill_and_compare(run, tmp_path)
    resumed = [each for each in attempts if each.err.startswith("resumed after step")]
    assert len(resumed) >= 3, attempts


# Fault row 51
def test_a_draw_in_rounds_that_is_killed_again_and_again_ends_in_the_same_ticket(
    tmp_path: Path, ready_made: Forks
) -> None:
    draw_a_ticket(tmp_path, ready_made)

    def run(folder: Path, *script: Step) -> Ended:
        return ready_made.run(folder, *DRAW, script=script)

    attempts = kill_and_compare(run, tmp_path)
    later = [each for each in attempts if each.err and not each.err.startswith("round 1:")]
    assert len(later) >= 3, attempts


def draw_a_ticket(folder: Path, forks: Forks) -> None:
    task, fit = "glyphs:count=200,size=8", "small:epochs=1"
    for command in (
        ("pretrain", "--task", task, "--arch", NETWORK, "--fit", fit, "-o", "m.safetensors"),
        ("prune", "m.safetensors", "--sparsity", 0.8),
    ):
        assert forks.run(folder, *command).status == 0


# Fault row 51
def test_a_training_that_saves_after_each_step_goes_on_in_the_middle_of_epochs(
    tmp_path: Path, ready_made: Forks
) -> None:
    def run(folder: Path, *script: Step) -> Ended:
        return ready_made.run(folder, call=TRAIN, script=script)

    attempts = kill_and_compare(run, tmp_path)
    begun = [int(each.err) for each in attempts if each.err]
    assert sum(step % 4 != 0 for step in begun) >= 3, begun


def kill_and_compare(run: Run, tmp_path: Path) -> list[Ended]:
    """Kill runs until that is enough, and resume each to its end; all that was attempted."""
    whole = fresh(tmp_path / "whole")
    unbroken = run(whole)
    assert unbroken.status == 0, unbroken
    lots, halves, number = random.Random(0), 0, 0
    attempts: list[Ended] = []
    while sum(map(killed, attempts)) < KILLS:
        broken = fresh(tmp_path / f"broken{(number := number + 1)}")
        while True:
            enough = sum(map(killed, attempts)) >= KILLS
            attempts.append(run(broken, *(() if enough else moment(lots, unbroken.seconds))))
            check_whole(broken, whole)
            if not killed(attempts[-1]):
                break
            halves += any(broken.glob("run/*.partial"))
        check_same(broken, whole)
    assert halves, "no kill hit a stage that was being written"
    return attempts


def killed(attempt: Ended) -> bool:
    """Whether it was killed; if not, it came to its end, sometimes before its kill arrived."""
    assert attempt.status in (0, -signal.SIGKILL), attempt
    return attempt.status != 0


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


def moment(lots: random.Random, seconds: float) -> tuple[Step, ...]:
    """When to kill: at any time, during a save, or, mostly, in the training."""
    kill = send(signal.SIGKILL)
    later = wait(lots.uniform(0, seconds / 3))
    if (what := lots.random()) < 0.15:
        return later, kill
    if what < 0.4:
        return see("run/*.partial"), wait(lots.uniform(0, 0.005)), kill
    return read("\n"), later, kill


def check_whole(broken: Path, whole: Path) -> None:
    """Whatever looks finished is."""
    run, output = broken / "run", broken / "out.safetensors"
    assert not output.exists() or filecmp.cmp(output, whole / output.name, shallow=False)
    assert not [*broken.rglob("*.bad*")]
    if (record := run / "run.json").exists():
        assert record.read_bytes() == (whole / "run/run.json").read_bytes()
        recipe = json.loads(record.read_text(encoding="utf-8"))["sha256"]
        for path in filter(lambda path: path.is_dir() and is_stage_name(path.name), run.iterdir()):
            assert fault_of(Stage(path), recipe) == ""


def check_same(broken: Path, whole: Path) -> None:
    """The same files, those of the stages of training apart, of which the last ones count."""
    files = [{p.relative_to(f) for p in f.rglob("*") if p.is_file()} for f in (broken, whole)]
    ours, theirs = ({f for f in each if not f.match("step-*/*")} for each in files)
    assert ours == theirs
    last, others = (
        sorted(f.parent for f in each if f.match("step-*/state.json")) for each in files
    )
    assert last[-1:] == others[-1:]
    assert len(last) <= 2
    compared = {step / name for step in last[-1:] for name in ("state.json", "tensors.safetensors")}
    compared |= {f for f in theirs if f.name not in ("MANIFEST.json", "events.jsonl")}
    for file in compared:
        assert filecmp.cmp(broken / file, whole / file, shallow=False), file
    assert epochs(broken) == epochs(whole)


def epochs(folder: Path) -> list[Any]:
    lines = (folder / "run/events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "epoch"]
