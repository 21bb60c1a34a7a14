"""Allocation `lamp`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    import torch


class Lamp(ticketkit.Allocation):
    """One ranking over all layers, of s^2 / (sum of u^2 over the scores u >= s of the layer).

    Layer-adaptive magnitude-based pruning, Lee et al. 2021, arXiv 2010.07611. s is the score of a
    weight, or the mean score of a block.
    """

    name = "lamp"

    def budgets(self, layers: Mapping[str, ticketkit.Layer], keep: Callable[[int], int]) -> None:
        return None

    def rescale(self, scores: torch.Tensor) -> torch.Tensor:
        import torch

        ranked, order = scores.sort()
        if len(ranked) and ranked[0] < 0:
            raise ticketkit.UsageError(
                f"allocation lamp needs scores of zero or more, found {ranked[0].item():.6g}"
            )
        if not len(ranked) or not ranked[-1]:
            return scores
        squares = (ranked / ranked[-1]).square_()  # of at most one: no square overflows
        tails = squares.flip(0).cumsum(0).flip(0)
        places = torch.arange(len(ranked))
        places[1:] *= ranked[1:] != ranked[:-1]
        squares /= tails[places.cummax(0).values]  # equal scores share the first one's sum
        return torch.empty_like(scores).scatter_(0, order, squares)


@ticketkit.hookimpl
def ticketkit_allocations() -> Iterator[type[ticketkit.Allocation]]:
    yield Lamp
