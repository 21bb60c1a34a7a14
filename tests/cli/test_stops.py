"""Real signals at a real command that trains: it ends its step, saves, and says so."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ticketkit.cli.stops import ALWAYS, TRAINING, StoppedAtOnce, heeding

# A command `loop` of the command line: it says what it does, and takes a line for each step.
LOOP = """
import os, signal, sys, time, types, warnings
import click
from ticketkit import Stopped, cli
from ticketkit.cli.stops import TRAINING, heeding
from ticketkit.stopping import steps

def say(text):
    print(text, flush=True)

def wait():
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)

@click.command()
@click.argument("what")
def command(what):
    with heeding(TRAINING):
        if what == "outside":
            say("begun")
            wait()
        with steps() as requested:
            if what == "fork":
                parent, child = os.pipe()
                if not (pid := os.fork()):
                    say("begun")
                    wait()
                _, status = os.waitpid(pid, 0)
                raise Stopped(f"a child ended: {status}", requested() or 0)
            say("begun")
            while requested() is None:
                time.sleep(0.01)
            say("asked")
            if what == "last":
                return 0
            if what == "again":
                wait()
            raise Stopped("stopped after step 7; --resume goes on", requested())

sys.modules["ticketkit.cli.loop"] = types.SimpleNamespace(command=command)
cli._COMMANDS += ("loop",)
sys.exit(cli.main(["loop", *sys.argv[1:]]))
"""

AFTER = "note: stopping once this step is saved; a second signal stops at once\n"
SAVED = "error: stopped after step 7; --resume goes on\n"
STATUS: dict[int, int] = {
    signal.SIGINT: 130,
    signal.SIGTERM: 75,
    signal.SIGHUP: 75,
    signal.SIGUSR1: 75,
}
AT_ONCE = {
    130: "error: interrupted; no output was left half-written\n",
    75: "error: stopped by a signal; no output was left half-written\n",
}


@contextlib.contextmanager
def running(what: str, ignored: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """The command, once it has begun."""

    def prepare() -> None:
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    with subprocess.Popen(
        [sys.executable, "-c", LOOP, what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", STATUS)
def test_the_first_signal_lets_the_loop_save(number: int) -> None:
    # fault row 52
    with running("inside") as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (STATUS[number], "asked\n", AFTER + SAVED)


@pytest.mark.parametrize("number", STATUS)
def test_the_second_signal_stops_at_once(number: int) -> None:
    with running("again") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    status = STATUS[number]
    assert (process.returncode, out, err) == (status, "", AFTER + AT_ONCE[status])


@pytest.mark.parametrize("number", STATUS)
def test_outside_of_a_loop_a_signal_stops_at_once(number: int) -> None:
    with running("outside") as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (STATUS[number], "", AT_ONCE[STATUS[number]])


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_in_the_last_step_stops_it_before_what_comes_next(number: int) -> None:
    with running("last") as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    status = STATUS[number]
    assert (process.returncode, out, err) == (status, "asked\n", AFTER + AT_ONCE[status])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_stays_ignored(number: int) -> None:
    with running("inside", ignored=number) as process:  # as under nohup
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (75, "asked\n", AFTER + SAVED)


def test_a_process_that_is_forked_leaves_ctrl_c_to_its_parent_and_ends_on_sigterm() -> None:
    with running("fork") as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("no way to find a child here")
        child = children.read_text().strip()
        subprocess.run(["kill", "-INT", child], check=True)
        subprocess.run(["kill", "-TERM", child], check=True)
        out, err = process.communicate(timeout=60)
    assert out == ""
    assert err == AT_ONCE[75] + "error: a child ended: 19200\n"  # 75 in the upper byte


def test_handlers_are_restored() -> None:
    names = (*ALWAYS, *TRAINING, "SIGNOTHING")
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
    before = [signal.getsignal(number) for number in numbers]
    with heeding(names):
        assert all(signal.getsignal(n) not in before for n in numbers)
    assert [signal.getsignal(number) for number in numbers] == before
    with pytest.raises(StoppedAtOnce), heeding(names):
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in numbers] == before


def test_another_thread_than_the_main_one_installs_none() -> None:
    seen = []

    def work() -> None:
        with heeding(ALWAYS):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
