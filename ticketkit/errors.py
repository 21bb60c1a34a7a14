"""The errors that ticketkit raises, each with the exit status that the command line gives it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


class TicketkitError(Exception):
    """Base of every error that a user can mend; `exit_status` is what the command line returns."""

    exit_status = 1


class UsageError(TicketkitError, ValueError):
    """An option, a spec string or an argument that has no meaning (exit status 2)."""

    exit_status = 2


class UnknownPart(UsageError):
    """No plugin offers a part of this name, or two of them do."""


class UnreachableSparsity(UsageError):
    """More was asked than can be removed; `highest` is the highest sparsity reachable."""

    def __init__(self, message: str, highest: float) -> None:
        super().__init__(message)
        self.highest = highest

    def __reduce__(self) -> tuple[type[UnreachableSparsity], tuple[str, float]]:
        return type(self), (str(self), self.highest)  # across processes too


def highest_sparsity(least: int, total: int) -> float:
    """What is removed where `least` of `total` weights stay, rounded down to six digits.

    So that what is printed can be asked for.
    """
    return math.floor((1 - least / total) * 10**6) / 10**6


class InputError(TicketkitError, ValueError):
    """A file, network or tensor that is refused as it is (exit status 3)."""

    exit_status = 3


class CheckpointError(InputError):
    """A checkpoint that cannot be read, or does not hold what was asked of it."""


class TicketError(InputError):
    """A ticket file that is malformed, altered, or from a newer ticketkit."""


class MismatchError(InputError):
    """A mask or ticket that does not belong to this network or checkpoint."""


class WeightsError(InputError):
    """Weights that cannot be ranked: not finite, not floating, not there."""


class EvaluationError(InputError):
    """What cannot be measured: outputs not finite, labels out of range, no data (exit status 1)."""

    exit_status = 1


class PluginError(TicketkitError):
    """A plugin raised, or returned what its part may not return (exit status 1)."""


class OutputError(TicketkitError):
    """An output could not be written, or another run is writing it (exit status 1)."""


class Stopped(TicketkitError):
    """A signal arrived: the step was finished and saved, and `--resume` goes on from there.

    `exit_status` is 130 after Ctrl-C, and 75 after any other signal.
    """

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status

    def __reduce__(self) -> tuple[type[Stopped], tuple[str, int]]:
        return type(self), (str(self), self.exit_status)


class TrainingError(TicketkitError):
    """A training that cannot go on: a loss that is not finite, processes that disagree (status 1).

    What was saved before stands, and `--resume` goes on from there.
    """


def is_stop(error: BaseException) -> bool:
    """Whether the program is to stop: Ctrl-C, or a signal that we turned into a SystemExit.

    A bare `sys.exit` is none: where a plugin calls it, it is that plugin's failure.
    """
    if isinstance(error, SystemExit):
        return type(error) is not SystemExit
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ended: Python's, or that of torch on whatever device."""
    words = ("out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(each in str(error) for each in words)


def near(name: str, known: Iterable[str], count: int = 3) -> str:
    """`"; did you mean 'row'?"`, or `""` where nothing known is near."""
    found = difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(word) for word in found)}?" if found else ""


def printable(text: str, limit: int = 512) -> str:
    """`text` with control and other unprintable characters escaped: names in files are data."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


def some(items: Iterable[str], limit: int = 5) -> str:
    """The first few items, and how many more there are: `"a, b, c and 4 more"`."""
    listed = [printable(item) for item in items]
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "")
