"""A threat model: what an adversary may do to a picture, the same in training and evaluation."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from typing import Literal, Self

from ticketkit.errors import UsageError
from ticketkit.options import configured, written


@dataclass(frozen=True)
class ThreatModel:
    """Projected gradient ascent within a ball around each picture in [0, 1].

    `eps` is the ball's radius, in the units of pixels; a threat of `eps` 0 or of no steps leaves
    pictures as they are. Madry et al. 2018, arXiv 1706.06083. Raises a `UsageError` for what has no
    meaning, and warns of steps that are longer than the ball is wide.

    >>> ThreatModel("l2", eps=0.5, steps=2).step_size
    0.625
    """

    norm: Literal["linf", "l2"] = "linf"
    eps: float = 8 / 255
    steps: int = 3
    step: float | None = None
    """The length of a step; None for 2.5 * eps / steps."""
    start: Literal["random", "zero"] = "random"
    """A point drawn uniformly from the ball, or the picture itself."""
    restarts: int = 1
    """How often to start; of each picture the perturbation of the highest loss is kept."""

    def __post_init__(self) -> None:
        _one_of("norm", self.norm, "linf", "l2")
        _one_of("start", self.start, "random", "zero")
        _number("eps", self.eps)
        _count("steps", self.steps, 0)
        _count("restarts", self.restarts, 1)
        if self.step is None:
            return
        _number("step", self.step)
        if not self.is_clean and self.step > 2 * self.eps:
            warnings.warn(
                f"a step of {self.step:g} is longer than the ball is wide, 2 * {self.eps:g}: each "
                "step ends on the far side; expected about 2.5 * eps / steps",
                stacklevel=3,
            )

    @property
    def is_clean(self) -> bool:
        """Whether pictures stay as they are."""
        return not (self.eps and self.steps)

    @property
    def step_size(self) -> float:
        """How far a step goes."""
        if self.step is not None:
            return self.step
        return 2.5 * self.eps / max(1, self.steps)

    @property
    def radius(self) -> str:
        """`eps` as figures are named by it: in 1/255 in linf, `"8"`; as it is in l2, `"l2-0.5"`."""
        return f"{255 * self.eps:.4g}" if self.norm == "linf" else f"l2-{self.eps:.4g}"

    def scaled(self, strength: float) -> Self:
        """The same threat with its lengths multiplied: the radius, and a step that was given."""
        _number("strength", strength)
        made = copy.copy(self)  # what was warned of once is not warned of again
        object.__setattr__(made, "eps", self.eps * strength)
        object.__setattr__(made, "step", None if self.step is None else self.step * strength)
        return made

    def spec(self) -> str:
        """Every option, as `parse` reads them: `"norm=linf,eps=0.5,steps=3,..."`."""
        return written(self)

    @classmethod
    def parse(cls, spec: str) -> Self:
        """What a text such as `"norm=l2,eps=1/2,steps=10"` means; options left out are default."""
        made: Self = configured(cls, spec, spec)
        return made


def _one_of(name: str, value: object, *choices: str) -> None:
    if value not in choices:
        raise UsageError(f"{name} is {' or '.join(choices)}, found {value!r}")


def _number(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:  # type: ignore[operator]
        raise UsageError(f"{name} is a finite number of 0 or more, found {value!r}")


def _count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} is a whole number of {least} or more, found {value!r}")
