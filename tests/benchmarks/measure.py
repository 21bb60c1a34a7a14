"""Measuring in turn, and the table that shows what was measured."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_WIDTH = 110
_COLUMNS = "{:<4}{:<52}{:>10}{:>11}{:>10}{:>13}  {:<5}"


@dataclass(frozen=True)
class Line:
    """One goal and what was measured: ours and the floor, in `unit`, and their ratio."""

    row: str
    what: str
    ours: float
    floor: float
    unit: str
    ratio: float
    goal: float
    at_least: bool = False
    """The goal is a least, not a most; the ratio is then the peer over ours."""
    sign: str = "x"
    """What follows a ratio: x, % (of the floor), or B for bytes a weight."""

    @property
    def passed(self) -> bool:
        """Whether the goal is met."""
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal

    def __str__(self) -> str:
        goal = f"{'>=' if self.at_least else '<='} {_ratio(self.goal, self.sign)}"
        return _COLUMNS.format(
            self.row,
            self.what,
            _amount(self.ours, self.unit),
            _amount(self.floor, self.unit),
            _ratio(self.ratio, self.sign),
            goal,
            "pass" if self.passed else "short",
        ).rstrip()


@dataclass(frozen=True)
class Peer:
    """What others need for the same: measured beside ours, or quoted from PERFORMANCE.md."""

    row: str
    what: str
    ratio: float
    """Over the floor of the row."""
    value: float | None = None
    unit: str = ""
    sign: str = "x"
    quoted: bool = False

    def __str__(self) -> str:
        value = "" if self.value is None else _amount(self.value, self.unit)
        note = "quoted" if self.quoted else ""
        shown = _COLUMNS.format(
            self.row, self.what, value, "", _ratio(self.ratio, self.sign), note, ""
        )
        return shown.rstrip()


@dataclass(frozen=True)
class Skipped:
    """A row that this machine cannot measure, and why."""

    row: str
    why: str

    def __str__(self) -> str:
        return f"{self.row:<4}{self.why}"


Result = Line | Peer | Skipped


def table(results: Iterable[Result]) -> str:
    """The goals, one a line, and below them the peers; no wider than 110 columns."""
    results = list(results)
    lines = [str(result) for result in results if isinstance(result, Line | Skipped)]
    peers = [str(result) for result in results if isinstance(result, Peer)]
    head = _COLUMNS.format("row", "what", "ours", "floor", "ratio", "goal", "").rstrip()
    if peers:
        peers = ["", _COLUMNS.format("", "peers", "value", "", "to floor", "", "").rstrip(), *peers]
    return "\n".join([head, "-" * _WIDTH, *lines, *peers])


def in_turn(runs: int, *calls: Callable[[], object]) -> list[list[float]]:
    """The seconds that each call took in each of `runs` rounds, after one round to warm up.

    Whatever else the machine does then meets all of them alike. What a call returns is freed after
    the clock is read.
    """
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(1 + runs):
        for call, times in zip(calls, taken, strict=True):
            times.append(seconds(call))
    return [times[1:] for times in taken]


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes, less the freeing of what it returns."""
    start = time.perf_counter()
    result = call()
    taken = time.perf_counter() - start
    del result
    return taken


def ratio(ours: Sequence[float], floor: Sequence[float]) -> float:
    """The median of the ratios of what was measured in turn."""
    return median(a / b for a, b in zip(ours, floor, strict=True))


def timed(
    row: str,
    what: str,
    ours: Sequence[float],
    floor: Sequence[float],
    goal: float,
) -> Line:
    """A line of two series of seconds that were measured in turn."""
    return Line(row, what, 1e3 * median(ours), 1e3 * median(floor), "ms", ratio(ours, floor), goal)


def resident(key: str = "VmRSS") -> int:
    """Resident memory of this process in bytes: what it has (VmRSS), or its peak (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{key}:\s+(\d+) kB", status)
    assert found is not None
    return 1024 * int(found[1])


def settle() -> None:
    """Give back to the system all memory that is free, so that what follows can be counted."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> None:
    """Let the peak of the resident memory start from here."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _amount(value: float, unit: str) -> str:
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def _ratio(value: float, sign: str) -> str:
    if sign == "%":
        return f"{100 * value:.2f} %"
    return f"{value:,.0f} {sign}" if value >= 100 else f"{value:.2f} {sign}"
