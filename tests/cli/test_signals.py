"""Signals at `pretrain` and `transfer`: before, in and after the training; and then to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.forking import Ended, Forks, Step, read, see, send, wait
from tests.samples import names

pytestmark = pytest.mark.slow

NETWORK = "resnet10:width=8,stem=small"
AFTER = "note: stopping once this step is saved; a second signal stops at once\n"
AT_ONCE = {
    130: "error: interrupted; no output was left half-written\n",
    75: "error: stopped by a signal; no output was left half-written\n",
}
KEPT = "note: what was done is saved in run; --resume goes on from there\n"
STATUS: dict[int, int] = {
    signal.SIGINT: 130,
    signal.SIGTERM: 75,
    signal.SIGHUP: 75,
    signal.SIGUSR1: 75,
}
# Where the work is: 10 steps of training, after data that takes a while, and before an attack that
# does.
DATA, ATTACK = "glyphs:count=4000,size=8", "steps=200"
BEGUN = see(".out.safetensors.ticketkit-lock")
TRAINING, TRAINED = read("epoch 1/"), see("run/step-000000010")


class Training:
    """A command of the two, run in a folder beside the ticket and the checkpoint."""

    def __init__(self, command: str, folder: Path, forks: Forks) -> None:
        self.top = folder
        self._command, self._forks = command, forks

    def run(
        self, name: str, *script: Step, fit: str = "small:epochs=10,batch=100", **options: str
    ) -> Ended:
        """Run it to its end or its stop, in the folder of this name."""
        folder = self.top / name
        folder.mkdir(exist_ok=True)
        given = {"task": "glyphs:count=100,size=8", "attack": "steps=2", **options}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        what: tuple[str, ...] = ("--arch", NETWORK)
        if self._command == "transfer":
            what = ("../m.ticket.safetensors", "../m.safetensors", "--mode", "finetune")
        where = ("-o", "out.safetensors", "--run", "run", "--data", "data", "--resume")
        arguments = (self._command, *what, *where, "--fit", fit, *words)
        return self._forks.run(folder, *arguments, script=script)

    def result(self, name: str) -> tuple[bytes, bytes]:
        """The weights and the document that it came to."""
        folder = self.top / name
        weights = (folder / "out.safetensors").read_bytes()
        assert (folder / "run/result/model.safetensors").read_bytes() == weights
        return weights, (folder / "run/result/result.json").read_bytes()


@pytest.fixture(scope="module", params=["pretrain", "transfer"])
def training(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ready_made: Forks
) -> Training:
    """One of the commands, and what it made of itself."""
    folder = tmp_path_factory.mktemp(request.param)
    task, fit = "glyphs:count=100,size=8", "small:epochs=1"
    for command in (
        ("pretrain", "--task", task, "--arch", NETWORK, "--fit", fit, "-o", "m.safetensors"),
        ("prune", "m.safetensors", "--sparsity", 0.8),
    ):
        assert ready_made.run(folder, *command).status == 0
    made = Training(request.param, folder, ready_made)
    assert made.run("whole").status == 0
    return made


# Fault row 52
@pytest.mark.parametrize("number", STATUS)
def test_a_signal_in_training_saves_the_step_and_another_run_goes_on(
    number: int, training: Training
) -> None:
    name = f"signal{number}"
    stopped = training.run(name, TRAINING, send(number))
    assert stopped.status == STATUS[number], stopped
    *words, error = stopped.err.splitlines(keepends=True)
    assert words.count(AFTER) == 1
    assert error.startswith("error: stopped after step ")
    assert error.endswith(" of 10; saved in run; --resume goes on from there\n")
    assert stopped.out == ""
    step = int(error.split()[4])
    ended = training.run(name)
    assert (ended.status, ended.err.splitlines()[0]) == (0, f"resumed after step {step} of 10")
    assert training.result(name) == training.result("whole")


# Fault row 52
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(second: int, training: Training) -> None:
    slow = {"fit": "small:epochs=2,batch=100", "robustifier": "pgd:steps=60"}
    name = f"twice{second}"
    script = (TRAINING, send(signal.SIGTERM), read(AFTER), send(second))
    stopped = training.run(name, *script, **slow)
    assert (stopped.status, stopped.out) == (STATUS[second], ""), stopped
    assert stopped.err.endswith(AFTER + AT_ONCE[stopped.status] + KEPT)
    assert training.run(name, **slow).status == 0
    assert training.run("slow", **slow).status == 0
    assert training.result(name) == training.result("slow")


# Fault row 52
@pytest.mark.parametrize("number", STATUS)
def test_a_signal_while_data_is_made_stops_at_once(number: int, training: Training) -> None:
    name = f"data{number}"
    stopped = training.run(name, BEGUN, wait(0.2), send(number), task=DATA)
    assert (stopped.status, stopped.out) == (STATUS[number], ""), stopped
    assert stopped.err == AT_ONCE[stopped.status]
    assert not [*(training.top / name).iterdir()]


# Fault row 52
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_after_training_stops_at_once_and_loses_nothing(
    number: int, training: Training
) -> None:
    name = f"after{number}"
    stopped = training.run(name, TRAINED, wait(0.2), send(number), attack=ATTACK)
    assert (stopped.status, stopped.out) == (STATUS[number], ""), stopped
    assert stopped.err.splitlines(keepends=True)[10:] == [AT_ONCE[stopped.status], KEPT]
    ended = training.run(name, attack=ATTACK)
    assert (ended.status, ended.err.splitlines()[0]) == (0, "resumed after step 10 of 10")
    assert training.result(name)[0] == training.result("whole")[0]


# Fault rows 52, 55
def test_nobody_has_to_read_and_there_may_be_no_home_and_no_language(tmp_path: Path) -> None:
    command = (
        f"{sys.executable} -m ticketkit pretrain --task glyphs:count=100,size=8 --arch {NETWORK} "
        "--fit small:epochs=1 --attack eps=0.1,step=0.5,steps=1 --run 'L\u00e4ufe 1' --resume "
    )
    script = (
        f"{command} -o 'm \u7db2.safetensors' >&-; echo $?; {command} -o n.safetensors | true; "
    )
    done = subprocess.run(
        ["bash", "-c", script + "echo ${PIPESTATUS[0]}"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "LANG": "C",
            "LC_ALL": "C",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONUTF8": "0",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "0\n0\n", done.stderr
    warning = "warning: a step of 0.5 is longer than the ball is wide, 2 * 0.1: "  # Fault row 39
    lines = done.stderr.splitlines()
    assert [line.startswith(warning) for line in lines] == [True, False, True], lines
    assert lines[1].startswith("epoch 1/1  loss ")
    assert names(tmp_path) == ["L\u00e4ufe 1", "m \u7db2.safetensors", "n.safetensors"]
