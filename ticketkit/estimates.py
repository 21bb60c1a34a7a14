"""What evaluators return, what they gather, and what they may know."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ticketkit.errors import printable

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from ticketkit.progress import Advance


@dataclass(frozen=True)
class Estimate:
    """One number that was measured, and how sure it is.

    Numbers are Python's, and finite, as result files hold them: a TypeError for others, such as a
    tensor, and a ValueError for those without a meaning, such as a share of 93. An interval need
    not hold the value: a bootstrap's may not.
    """

    value: float
    n: int
    """How many samples it was measured on."""
    low: float | None = None
    """The lower end of its 95 % interval; None where it has none."""
    high: float | None = None
    unit: str = ""
    """`"share"`, of 1, which is shown as a percentage; another unit, such as `"ms"`; or none."""
    better: Literal["higher", "lower"] = "higher"
    """Which of two such numbers is the better one."""

    def __post_init__(self) -> None:
        if type(self.n) is not int or self.n < 1:
            raise ValueError(f"n is a whole number from 1 on, found {self.n!r}")
        if not isinstance(self.unit, str):
            raise TypeError(f"unit is a text, such as 'share', found {self.unit!r}")
        if self.better not in ("higher", "lower"):
            raise ValueError(f"better is 'higher' or 'lower', found {self.better!r}")
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None or name == "value":
                self._check(name, number)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low is at most high, found {self.low} and {self.high}")

    def _check(self, name: str, number: object) -> None:
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise TypeError(f"{name} is a number of Python's, found {number!r}")
        if not abs(number) <= sys.float_info.max:
            raise ValueError(f"{name} is a finite number, found {printable(repr(number), 40)}")
        if self.unit == "share" and not 0 <= number <= 1:
            raise ValueError(f"{name} of a share is from 0 to 1, found {number!r}")

    @classmethod
    def share(
        cls, successes: int, n: int, better: Literal["higher", "lower"] = "higher"
    ) -> Estimate:
        """The share of `successes` among `n`, with Wilson's interval: see `ticketkit.wilson`."""
        from ticketkit.statistics import wilson

        low, high = wilson(successes, n)
        return cls(successes / n, n, low, high, "share", better)


Figures = Mapping[str, Estimate]
"""Numbers by name; the first one is what the evaluator stands for."""


class Accumulator(Protocol):
    """What an evaluator gathers in one pass over the data."""

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Take in one batch of outputs, (batch, classes, ...), and its targets, (batch, ...)."""

    def compute(self) -> Figures:
        """The numbers, of all batches so far."""


@dataclass(frozen=True)
class EvaluationContext:
    """What an evaluator that needs the network may know. New fields may join these."""

    seed: int = 0
    """Of whatever it draws: use `generator`."""
    batch: int = 256
    """How many samples a batch has at most, where it does not choose by itself."""
    root: Path | None = None
    """The folder in which the data of other tasks lies; None for the user's cache."""
    file: Path | None = None
    """The checkpoint that the network was read from; None for a live network."""
    gathered: Any = None
    """The accumulator that `start` returned, with the shared pass in it; None without one."""

    def generator(self, *where: int | str) -> torch.Generator:
        """A new generator on the CPU, seeded by the seed and by what these words name."""
        import torch

        from ticketkit.seeds import seed_of

        return torch.Generator().manual_seed(seed_of(self.seed, *where))

    def progress(
        self, what: str, total: int, unit: str = "pictures"
    ) -> AbstractContextManager[Advance]:
        """A stage of long work, shown with the time left: call its value with each count done."""
        from ticketkit.progress import stage

        return stage(what, total, unit)
