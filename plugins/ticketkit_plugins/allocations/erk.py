"""Allocation `erk`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import ticketkit

Sizes = Mapping[str, int]


class Erk(ticketkit.Allocation):
    """Erdos-Renyi-Kernel: a layer's density is proportional to (sum of its dimensions) / (product).

    Evci et al. 2020, arXiv 1911.11134, kernel sizes included. A layer that would have to keep more
    than all stays dense, and the others share the rest. No layer is left with less than one weight
    while the budget has one for each. Counts are rounded by Sainte-Lague's divisors: the total is
    exact, and no layer loses a weight when the budget grows, as it may by largest remainders.
    """

    name = "erk"

    def budgets(
        self, layers: Mapping[str, ticketkit.Layer], keep: Callable[[int], int]
    ) -> Mapping[str, int]:
        sizes = {name: layers[name].size for name in sorted(layers)}
        sums = {name: sum(layers[name].shape) for name in sizes}
        total = keep(sum(sizes.values()))
        if total < len(sizes):  # not one for each: the layers of greatest density first
            first = sorted(sizes, key=lambda name: (-sums[name] / sizes[name], name))[:total]
            return {name: int(name in first) for name in sizes}
        low, high = _levels(sizes, sums, total)
        shares, more = _rounded(sizes, sums, low), _rounded(sizes, sums, high)
        for name in sizes:  # what is left goes, in the order of names, to those who are next
            left = total - sum(shares.values())
            shares[name] += min(left, more[name] - shares[name])
        return shares


def _levels(sizes: Sizes, sums: Sizes, total: int) -> tuple[float, float]:
    """The density per (sum / product) at which the budget is used up, between two neighbours."""
    low, high = 0.0, 1.0 + max(sizes.values())
    while low < (middle := (low + high) / 2) < high:
        if sum(_rounded(sizes, sums, middle).values()) <= total:
            low = middle
        else:
            high = middle
    return low, high


def _rounded(sizes: Sizes, sums: Sizes, level: float) -> dict[str, int]:
    """Each layer's count at this level, halves up: from one weight to all of them."""
    return {n: min(size, max(1, math.floor(level * sums[n] + 0.5))) for n, size in sizes.items()}


@ticketkit.hookimpl
def ticketkit_allocations() -> Iterator[type[ticketkit.Allocation]]:
    yield Erk
