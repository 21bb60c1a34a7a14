"""Intervals: how sure is a share of successes, and how sure is a mean over seeds?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from statistics import NormalDist, fmean, stdev
from typing import Any

from ticketkit.errors import UsageError

_TINY = 1e-12


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927), low and high, of a share of `successes` among `n` trials.

    It never leaves [0, 1] and is sound where the share is 0 or 1, as the share of a robust
    network's errors may be. UsageError where n < 1 or successes are not 0 to n.

    >>> wilson(9, 10)
    (0.5958..., 0.9821...)
    """
    if n < 1 or not 0 <= successes <= n:
        raise UsageError(f"expected 0 to n successes of n >= 1 trials, found {successes} of {n}")
    z = NormalDist().inv_cdf((1 + _checked(level)) / 2)
    share, wide = successes / n, z * z / n
    centre = (share + wide / 2) / (1 + wide)
    half = math.sqrt(share * (1 - share) * wide + wide * wide / 4) / (1 + wide)
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == n else centre + half


def auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """The 95 % score interval, low and high, of an area under the ROC curve.

    Newcombe 2006 (Statistics in Medicine 25, part 2, method 5): what Wilson's is of a share. It
    holds the area, does not leave [0, 1], and is no point where the sets are apart altogether.

    >>> auc_interval(0.9, 50, 50)
    (0.82..., 0.94...)
    """
    from scipy.optimize import brentq

    if positives < 1 or negatives < 1 or not 0 <= auc <= 1:
        raise UsageError(
            f"expected an area of 0 to 1 of both sets, found {auc} of {positives} and {negatives}"
        )
    z, more = NormalDist().inv_cdf(0.975), (positives + negatives) / 2 - 1

    def apart(area: float) -> float:
        odds = (1 - area) / (2 - area) + area / (1 + area)
        variance = area * (1 - area) * (1 + more * odds) / (positives * negatives)
        return abs(auc - area) - z * math.sqrt(max(0.0, variance))

    # At 0 and 1 the equation holds whatever the area is.
    low = brentq(apart, 0, min(auc, 1 - _TINY)) if auc > 0 else 0.0
    return low, brentq(apart, max(auc, _TINY), 1) if auc < 1 else 1.0


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's t interval, low and high, of the mean of two or more values, such as one a seed.

    UsageError where there are fewer than two, or one is not finite.
    """
    if len(values) < 2:
        raise UsageError(f"an interval of a mean needs two or more values, found {len(values)}")
    if not all(map(math.isfinite, values)):
        raise UsageError(f"an interval of a mean needs finite values, found {list(values)}")
    mean, n = fmean(values), len(values)
    half = _quantile(_checked(level), n - 1) * stdev(values) / math.sqrt(n)
    return mean - half, mean + half


def median_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """An interval, low and high, of the median of six or more values, whatever they come from.

    Its ends are order statistics: of n values, fewer than k lie below the median with probability
    P(B < k), B binomial of n and 1/2, whatever the distribution; the largest k is taken for which
    that is (1 - level) / 2 at most. UsageError where there are too few values for any k.

    >>> median_interval([1, 2, 3, 4, 5, 6])
    (1, 6)
    """
    n, tail = len(values), (1 - _checked(level)) / 2
    ranked, k = sorted(values), 0
    most = math.floor(Fraction(tail) * 2**n)  # in whole numbers, for 2**1024 is no float
    ways = below = 1  # n over k, and the sum of these up to k
    while k < n and below <= most:
        k += 1
        ways = ways * (n - k + 1) // k
        below += ways
    if not k:
        raise UsageError(f"an interval of a median at {level} needs more values, found {n}")
    return ranked[k - 1], ranked[n - k]


def bootstrap(
    statistic: Callable[[Any], float],
    n: int,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """The percentile interval (Efron 1979), low and high, of a statistic without a closed form.

    `statistic` is called with indices into the n samples, drawn with replacement: a NumPy array
    (n,). The same seed gives the same interval. UsageError where n < 1.

    >>> values = np.arange(100.0)
    >>> bootstrap(lambda chosen: values[chosen].mean(), 100)
    (44.2..., 55.0...)
    """
    import numpy as np

    if n < 1:
        raise UsageError(f"an interval needs one sample or more, found {n}")
    tail = (1 - _checked(level)) / 2
    draw = np.random.Generator(np.random.PCG64(seed))
    found = [statistic(draw.integers(n, size=n)) for _ in range(replicates)]
    low, high = np.quantile(found, (tail, 1 - tail))
    return float(low), float(high)


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise UsageError(f"a level lies between 0 and 1, such as 0.95; found {level}")
    return level


def _quantile(level: float, freedom: int) -> float:
    """The t below which |T| stays with probability `level`."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
