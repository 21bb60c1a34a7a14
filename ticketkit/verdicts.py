"""Which side is better in one figure? A paired difference over seeds, and what it decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ticketkit.statistics import mean_interval

# Fu et al. 2023 tell winners 'under high sparsity ratios', and not which.
HIGH, LEAST = 0.9, 3
RULE = (
    "a figure's difference is the first side's less the second's, paired over seeds, with "
    "Student's 95 % interval; where the interval excludes 0 the better side wins, where it holds 0 "
    "they match, which is no proof that they are equal, and with fewer than 3 seeds it is "
    "undecided; overall is each seed's mean over the sparsities of 0.9 and more"
)
MATCH, UNDECIDED = "Match", "undecided"

Pair = tuple[float, float]
"""A figure of a network of side A, and of its counterpart on side B."""
Units = Mapping[str, Sequence[Pair]]
"""The pairs that share a seed, by that seed: together they count as one."""


@dataclass(frozen=True)
class Comparison:
    """A figure on both sides, over `seeds`."""

    a: float
    b: float
    difference: float
    """a - b."""
    interval: tuple[float, float] | None
    """95 % of the difference; None for a single seed."""
    seeds: tuple[str, ...]
    verdict: str


def comparison(units: Units, better: str, winners: tuple[str, str]) -> Comparison:
    """Compare one figure, of which `better` is higher or lower; `winners` are the sides' names."""
    seeds = tuple(sorted(units))
    # Differences are taken within a pair first: those of equal figures are 0 to the last bit.
    each = [fmean(a - b for a, b in units[seed]) for seed in seeds]
    a, b = (fmean(fmean(pair[side] for pair in units[seed]) for seed in seeds) for side in (0, 1))
    interval = mean_interval(each) if len(each) > 1 else None
    verdict = _verdict(interval, len(seeds), better, winners)
    return Comparison(a, b, fmean(each), interval, seeds, verdict)


def overall(rows: Mapping[float, Units]) -> Units:
    """Each seed's mean over the high sparsities, of one figure's units at every sparsity.

    Empty where there is no high sparsity, or no seed that has them all.
    """
    high = [units for sparsity, units in rows.items() if sparsity >= HIGH]
    seeds = set.intersection(*map(set, high)) if high else set()
    return {seed: [_mean(_mean(units[seed]) for units in high)] for seed in sorted(seeds)}


def _mean(pairs: Iterable[Pair]) -> Pair:
    ours, theirs = zip(*pairs, strict=True)
    return fmean(ours), fmean(theirs)


def _verdict(
    interval: tuple[float, float] | None, n: int, better: str, winners: tuple[str, str]
) -> str:
    if interval is None or n < LEAST:
        return UNDECIDED
    low, high = interval
    if low <= 0 <= high:
        return MATCH
    return winners[(low > 0) != (better == "higher")]
