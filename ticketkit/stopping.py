"""How a long loop learns that it should stop: it ends its step and saves before it does.

The command line installs handlers that call `ask`; where nobody does, nothing changes:
`requested()` stays None, and Ctrl-C interrupts a loop wherever it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Requested = Callable[[], int | None]
"""The exit status that was asked for, once a stop was: see `errors.Stopped`."""


@dataclass
class _State:
    """Of the whole process, as signals are."""

    blocks: int = 0  # of `steps`, one in the other, that run
    asked: tuple[int, BaseException] | None = None


_STATE = _State()


@contextlib.contextmanager
def steps() -> Iterator[Requested]:
    """A block with a loop that can stop between two of its steps.

    It looks after each step, and raises `Stopped` with the status once it has saved:

        with steps() as requested:
            for step in ...:
                ...
                if (status := requested()) is not None:
                    save()
                    raise Stopped(f"stopped after step {step}; --resume goes on", status)

    Blocks may lie in one another: a stop that the inner loop did not see is the outer one's. What
    nobody saw takes effect where the outermost block ends.
    """
    if not _STATE.blocks:
        _STATE.asked = None
    _STATE.blocks += 1
    try:
        yield _requested
    finally:
        _STATE.blocks -= 1
    if not _STATE.blocks and _STATE.asked is not None:
        raise _STATE.asked[1]


def ask(status: int, stop: BaseException) -> None:
    """Ask the loop that runs to stop, with this status; for handlers of signals.

    Where none runs, or one was asked before and somebody is impatient, `stop` is raised.
    """
    if not _STATE.blocks or _STATE.asked is not None:
        raise stop
    _STATE.asked = status, stop


def asked() -> bool:
    """Whether the last loop was asked to stop."""
    return _STATE.asked is not None


def _requested() -> int | None:
    return None if _STATE.asked is None else _STATE.asked[0]
