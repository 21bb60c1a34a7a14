"""Criterion `random`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    import torch


class Random(ticketkit.Criterion):
    """Uniform noise, the same for the same seed and parameter name."""

    name = "random"
    elementwise = False

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        return weight.new_empty(weight.shape).uniform_(generator=context.generator)


@ticketkit.hookimpl
def ticketkit_criteria() -> Iterator[type[ticketkit.Criterion]]:
    yield Random
