"""Progress of long work, told to whoever listens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Advance = Callable[[int], None]
Listener = Callable[[str, int, str], contextlib.AbstractContextManager[Advance]]
"""Is told what a stage does, how much of it there is, and in which unit; returns a context whose
value is to be called with how much has been done since the last call."""

_LISTENER: ContextVar[Listener | None] = ContextVar("ticketkit.progress", default=None)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell `listener` of every stage in the block."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextlib.contextmanager
def stage(what: str, total: int, unit: str = "B") -> Iterator[Advance]:
    """A stage of long work of `total` units, bytes or others; 0 for an amount nobody knows."""
    listener = _LISTENER.get()
    if listener is None or not total:
        yield _unheard
        return
    with listener(what, total, unit) as advance:
        yield advance


def _unheard(count: int) -> None:
    """Progress that nobody listens to."""
