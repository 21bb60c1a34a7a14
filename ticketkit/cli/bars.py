"""Bars on standard error while long work goes on: how much is done, and the time left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

    from ticketkit.progress import Advance

# Fewer bytes or weights than this are done before a bar can be read.
_LONG = 2**26
_MANY = ("B", "weights")


@contextlib.contextmanager
def bars(quiet: bool) -> Iterator[None]:
    """Show a bar for each long stage of the block; none where standard error is no terminal."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from ticketkit.progress import listening

    progress = _progress()
    try:
        with listening(lambda what, total, unit: _bar(progress, what, total, unit)):
            yield
    finally:
        progress.stop()


@contextlib.contextmanager
def _bar(progress: Progress, what: str, total: int, unit: str) -> Iterator[Advance]:
    if unit in _MANY and total < _LONG:
        yield lambda count: None
        return
    progress.start()
    task = progress.add_task(what, total=total, unit=unit)
    yield lambda count: progress.advance(task, count)
    progress.remove_task(task)


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        """`1.2 of 4.3 GB`."""

        def render(self, task: Any) -> Text:
            return Text(amount(task.completed, task.total, task.fields["unit"]))

    columns = (TextColumn("{task.description}"), BarColumn(), Amount(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def amount(done: float, total: float, unit: str) -> str:
    """How much of how much: `"1.2 of 4.3 GB"`, `"512 of 2,147 M weights"`, `"5 of 63 batches"`."""
    if unit == "B":
        return f"{done / 1e9:.1f} of {total / 1e9:.1f} GB"
    if unit in _MANY:
        return f"{done / 1e6:,.0f} of {total / 1e6:,.0f} M {unit}"
    return f"{done:,.0f} of {total:,.0f} {unit}"
