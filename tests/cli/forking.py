"""Processes that are forked, ready-made, from one that has imported everything: a command in them
begins at once, and gets real signals at the moments that a script tells."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What is imported late, where it is needed: seconds that each process would lose.
_LATE = ("sklearn.datasets", "matplotlib.font_manager", "scipy.optimize", "torchvision")
_LOOK = 0.0005

Step = tuple[Any, ...]


def see(pattern: str) -> Step:
    """Wait until there is a file like this in the folder."""
    return "see", pattern


def read(text: str) -> Step:
    """Wait until the process has written this to standard error."""
    return "read", text


def wait(seconds: float) -> Step:
    """Wait for so long."""
    return "wait", seconds


def send(number: int) -> Step:
    """Send a signal."""
    return "send", number


@dataclass(frozen=True)
class Ended:
    """What became of a process."""

    status: int
    """Its exit status; of one that a signal ended, the negative number of that."""
    out: str
    err: str
    seconds: float
    sent: int
    """How many signals it got before it ended."""


class Forks:
    """The process that has imported everything, one of whose children runs at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self,
        folder: Path,
        *arguments: object,
        script: tuple[Step, ...] = (),
        call: str = "ticketkit.cli:main",
        **environment: str | None,
    ) -> Ended:
        """Run `ticketkit ARGUMENTS`, or another callable, in a folder, and follow the script."""
        order = {
            "folder": str(folder),
            "arguments": [str(argument) for argument in arguments],
            "script": script,
            "call": call,
            "environment": environment,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def forks() -> Iterator[Forks]:
    """Import everything in a process of its own, and end it with the block."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", "from tests.cli.forking import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield Forks(process)


def serve() -> None:
    """Carry out the orders on standard input. No tensor is touched here: threads do not fork."""
    import ticketkit

    for module in pkgutil.walk_packages(ticketkit.__path__, "ticketkit."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _LATE:
        importlib.import_module(name)
    ticketkit.catalogue()
    for line in sys.stdin:
        print(json.dumps(_carried_out(**json.loads(line))), flush=True)


def _carried_out(folder: str, script: list[Step], **order: Any) -> dict[str, Any]:
    logs = Path(folder, "..").resolve()  # beside the folder, which is the command's own
    out, err = (logs / f"{Path(folder).name}.{name}" for name in ("out", "err"))
    out.unlink(missing_ok=True)
    err.unlink(missing_ok=True)
    began = time.monotonic()
    child = os.fork()
    if not child:
        _become(folder, out, err, **order)
    watch = _Watch(child, Path(folder), err)
    for step, value in script:
        getattr(watch, step)(value)
    status = watch.end()
    seconds = time.monotonic() - began
    texts = {p.suffix[1:]: p.read_text(encoding="utf-8") if p.exists() else "" for p in (out, err)}
    return {"status": status, "seconds": seconds, "sent": watch.sent, **texts}


def _become(
    folder: str, out: Path, err: Path, arguments: list[str], call: str, environment: dict[str, Any]
) -> None:
    """Be the process that was asked for, and end."""
    status = 70
    try:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name, value in environment.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
        for descriptor, path in enumerate((Path(os.devnull), out, err)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), descriptor)
        os.chdir(folder)
        sys.argv = ["ticketkit", *arguments]
        module, _, name = call.partition(":")
        status = getattr(importlib.import_module(module), name)(arguments)
    except BaseException as error:  # noqa: BLE001  whatever it is, no second process may serve
        os.write(2, repr(error).encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class _Watch:
    """A process that is watched until it ends, and reaped here alone: its number stays its own."""

    def __init__(self, child: int, folder: Path, err: Path) -> None:
        self._child, self._folder, self._err = child, folder, err
        self._status: int | None = None
        self.sent = 0

    def _lives(self) -> bool:
        if self._status is None:
            done, status = os.waitpid(self._child, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if done else None
        return self._status is None

    def see(self, pattern: str) -> None:
        while self._lives() and not any(self._folder.glob(pattern)):
            time.sleep(_LOOK)

    def read(self, text: str) -> None:
        while self._lives() and not (self._err.exists() and text in self._err.read_text()):
            time.sleep(_LOOK)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._lives() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 20 * _LOOK))

    def send(self, number: int) -> None:
        if self._lives():
            os.kill(self._child, number)
            self.sent += 1

    def end(self) -> int:
        while self._lives():
            time.sleep(10 * _LOOK)
        assert self._status is not None
        return self._status
