"""Criterion `magnitude`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    import torch


class Magnitude(ticketkit.Criterion):
    """The absolute value of the weight.

    Han et al. 2015, arXiv 1506.02626.
    """

    name = "magnitude"

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return weight.abs()


@ticketkit.hookimpl
def ticketkit_criteria() -> Iterator[type[ticketkit.Criterion]]:
    yield Magnitude
