"""What a certificate of randomized smoothing says, and the statistics behind it.

Cohen, Rosenfeld and Kolter 2019, arXiv 1902.02918, section 3.2 and theorem 1.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left
from dataclasses import dataclass

from ticketkit.errors import UsageError


class Abstention(enum.Enum):
    """What a smoothed network answers where its samples do not tell the class."""

    ABSTAIN = "ABSTAIN"


ABSTAIN = Abstention.ABSTAIN


@dataclass(frozen=True)
class Certificate:
    """What CERTIFY found of one picture."""

    prediction: int | Abstention
    """The class, or `ABSTAIN`."""
    radius: float
    """In l2, in the units of pixels: the smoothed network answers so for every picture that is
    nearer than this. 0 with `ABSTAIN`."""
    votes: int
    """How many samples were of the class that was guessed."""
    n: int
    """Of how many."""


def certified_radius(votes: int, n: int, *, sigma: float, alpha: float) -> float:
    """Theorem 1: sigma Phi^-1(p) for the lower bound p of a class with `votes` among `n`, or 0.

    p is Clopper and Pearson's one-sided bound of confidence 1 - alpha; 0 stands for p <= 1/2.

    >>> certified_radius(990, 1000, sigma=0.5, alpha=0.001)
    0.98900...
    """
    from scipy.stats import beta, norm

    if not votes:
        return 0.0
    # 1 - p by itself, for near 1 p would be rounded, and the radius of all votes infinite.
    others = beta.isf(alpha, n - votes + 1, votes)
    return float(sigma * norm.isf(others)) if others < 0.5 else 0.0


def fewest_votes(radius: float, n: int, *, sigma: float, alpha: float) -> int:
    """How many of `n` votes certify a radius, and more than 1/2; n + 1 where no number does."""

    def certifies(votes: int) -> bool:
        found = certified_radius(votes, n, sigma=sigma, alpha=alpha)
        return found >= radius and found > 0

    return bisect_left(range(n + 1), True, key=certifies)


def check_smoothing(
    *, sigma: float, alpha: float = 0.001, radius: float = 0.0, **counts: int
) -> None:
    """Raise a `UsageError` for a deviation, a probability, a radius or counts without meaning."""
    for name, value in {"sigma": sigma, "alpha": alpha, "radius": radius}.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{name} is a number, found {value!r}")
    if not 0 < sigma < math.inf:
        raise UsageError(f"sigma is a finite number above 0, found {sigma!r}")
    if not 0 < alpha < 1:
        raise UsageError(f"alpha lies between 0 and 1, such as 0.001; found {alpha!r}")
    if not 0 <= radius < math.inf:
        raise UsageError(f"a radius is a finite number of 0 or more, found {radius!r}")
    for name, count in counts.items():
        if type(count) is not int or count < 1:
            raise UsageError(f"{name} is a whole number of 1 or more, found {count!r}")
