"""Intervals of 95 %: how sure is a share of successes, and how sure is a mean over seeds?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import NormalDist, fmean, stdev
from typing import Any

from ticketkit.errors import UsageError

LEVEL = 0.95
_HIGH = (1 + LEVEL) / 2
_Z = NormalDist().inv_cdf(_HIGH)
_REPLICATES = 1000
_TINY = 1e-12


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval (1927), low and high, of a share of `successes` among `n` trials.

    It never leaves [0, 1] and is sound where the share is 0 or 1, as the share of a robust
    network's errors may be. UsageError where n < 1 or successes are not 0 to n.

    >>> wilson(9, 10)
    (0.5958..., 0.9821...)
    """
    if n < 1 or not 0 <= successes <= n:
        raise UsageError(f"expected 0 to n successes of n >= 1 trials, found {successes} of {n}")
    share, wide = successes / n, _Z * _Z / n
    centre = (share + wide / 2) / (1 + wide)
    half = math.sqrt(share * (1 - share) * wide + wide * wide / 4) / (1 + wide)
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == n else centre + half


def auc_interval(auc: float, positives: int, negatives: int) -> tuple[float, float]:
    """The score interval, low and high, of an area under the ROC curve.

    Newcombe 2006 (Statistics in Medicine 25, part 2, method 5): what Wilson's is of a share. It
    holds the area, does not leave [0, 1], and is no point where the sets are apart altogether.

    >>> auc_interval(0.9, 50, 50)
    (0.815..., 0.946...)
    """
    from scipy.optimize import brentq

    if positives < 1 or negatives < 1 or not 0 <= auc <= 1:
        raise UsageError(
            f"expected an area of 0 to 1 of both sets, found {auc} of {positives} and {negatives}"
        )
    more = (positives + negatives) / 2 - 1

    def apart(area: float) -> float:
        odds = (1 - area) / (2 - area) + area / (1 + area)
        variance = area * (1 - area) * (1 + more * odds) / (positives * negatives)
        return abs(auc - area) - _Z * math.sqrt(max(0.0, variance))

    # At 0 and 1 the equation holds whatever the area is.
    low = brentq(apart, 0, min(auc, 1 - _TINY)) if auc > 0 else 0.0
    return low, brentq(apart, max(auc, _TINY), 1) if auc < 1 else 1.0


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's t interval, low and high, of the mean of two or more values, such as one a seed.

    UsageError where there are fewer than two, or one is not finite.
    """
    from scipy.special import stdtrit

    if len(values) < 2:
        raise UsageError(f"an interval of a mean needs two or more values, found {len(values)}")
    _check_finite("a mean", values)
    mean, n = fmean(values), len(values)
    # The t below which |T| stays with probability LEVEL.
    half = float(stdtrit(n - 1, _HIGH)) * stdev(values) / math.sqrt(n)
    return mean - half, mean + half


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """An interval, low and high, of the median of six or more values, whatever they come from.

    Its ends are order statistics: of n values, fewer than k lie below the median with probability
    P(B < k), B binomial of n and 1/2, whatever the distribution; the largest k is taken for which
    that is 1/40 at most. UsageError where there are fewer than six values, or one is not finite.

    >>> median_interval([1, 2, 3, 4, 5, 6])
    (1, 6)
    """
    _check_finite("a median", values)
    ranked, n, k = sorted(values), len(values), 0
    most = 2**n // 40  # in whole numbers, for 2**1024 is no float
    ways = below = 1  # n over k, and the sum of these up to k
    while k < n and below <= most:
        k += 1
        ways = ways * (n - k + 1) // k
        below += ways
    if not k:
        raise UsageError(f"an interval of a median needs six or more values, found {n}")
    return ranked[k - 1], ranked[n - k]


def bootstrap(statistic: Callable[[Any], float], n: int, *, seed: int = 0) -> tuple[float, float]:
    """The percentile interval (Efron 1979), low and high, of a statistic without a closed form.

    `statistic` is called 1000 times with indices into the n samples, drawn with replacement: a
    NumPy array (n,). The same seed gives the same interval. UsageError where n < 1, or a statistic
    is not finite.

    >>> values = np.arange(100.0)
    >>> bootstrap(lambda chosen: values[chosen].mean(), 100)
    (43.8..., 54.9...)
    """
    import numpy as np

    if n < 1:
        raise UsageError(f"an interval needs one sample or more, found {n}")
    draw = np.random.Generator(np.random.PCG64(seed))
    found = [statistic(draw.integers(n, size=n)) for _ in range(_REPLICATES)]
    _check_finite("a statistic", found)
    low, high = np.quantile(found, (1 - _HIGH, _HIGH))
    return float(low), float(high)


def _check_finite(what: str, values: Iterable[float]) -> None:
    for value in values:
        if not math.isfinite(value):
            raise UsageError(f"an interval of {what} needs finite values, found {float(value)}")
