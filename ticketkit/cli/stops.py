"""Signals that stop a command: between two steps of a loop that can save, or else at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from ticketkit import stopping
from ticketkit.distributed import leads

STOPPED, INTERRUPTED = 75, 130

# What every command listens to; and what those that train do too: a scheduler's warning that time
# is nearly up, which ends any other program.
ALWAYS = ("SIGINT", "SIGTERM", "SIGHUP")
TRAINING = ("SIGUSR1",)

_AFTER = b"note: stopping once this step is saved; a second signal stops at once\n"


class StoppedAtOnce(SystemExit):
    """A signal arrived. What guards against faults lets a SystemExit pass, as it does Ctrl-C."""


@contextlib.contextmanager
def heeding(names: tuple[str, ...]) -> Iterator[None]:
    """Stop the block at these signals, those of them that there are here.

    One that is ignored stays ignored: `nohup` does that, and a shell for what it sends to the
    background. Only a main thread can listen.
    """
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {n: handler for n in numbers if (handler := signal.getsignal(n)) != signal.SIG_IGN}
    handle = _Handler(os.getpid())
    try:
        for number in before:
            signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


class _Handler:
    def __init__(self, process: int) -> None:
        self.process = process

    def __call__(self, number: int, frame: FrameType | None) -> None:
        interrupt = number == signal.SIGINT
        stop = KeyboardInterrupt() if interrupt else StoppedAtOnce()
        if os.getpid() != self.process:  # a process that loads data, forked from ours
            if interrupt:  # a terminal tells all of them; the first one decides
                return
            raise stop
        stopping.ask(INTERRUPTED if interrupt else STOPPED, stop)
        if leads():
            with contextlib.suppress(OSError):  # what it interrupts may be printing
                os.write(2, _AFTER)
