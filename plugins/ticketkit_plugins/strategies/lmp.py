"""Strategy `lmp`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import ticketkit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Lmp(ticketkit.Strategy):
    """Learnable mask pruning: weights stay, and a score for each block is trained on the task.

    Fu et al., DAC 2023, equation 2. Blocks of the largest |score| are kept in each step; gradients
    go straight through to all scores. What they start from: `kaiming` draws lots, so that the first
    mask is a random one (hidden-networks, arXiv 1911.13299); `weight_rank` puts these lots in the
    order of the criterion's scores, so that the first mask is that of omp in each layer, and
    `weight_scaled` takes the criterion's scores as they are (both S3-Router, arXiv 2211.01522);
    `hydra` scales them to sqrt(6 / fan_in) at most (arXiv 2002.10509).
    """

    name = "lmp"
    trains = True
    stage = "mask"
    allocation = "uniform"
    start: Literal["kaiming", "weight_rank", "weight_scaled", "hydra"] = "weight_rank"

    def check(self, parts: ticketkit.Parts) -> None:
        """Refuse a criterion that the start is not made for."""
        if parts.criterion.name != "magnitude" and self.start != "weight_rank":
            raise ticketkit.UsageError(
                f"lmp:start={self.start} begins with lots or magnitudes; start=weight_rank begins "
                f"with what criterion {ticketkit.spec_of(parts.criterion)} ranks"
            )

    def rounds(self, job: ticketkit.Job) -> Iterator[ticketkit.Round]:
        if job.last is not None:
            return
        begin = _STARTS[self.start]
        importances = job.block_scores().items()
        scores = {name: begin(found, job.generator(name)) for name, found in importances}
        yield ticketkit.Round(job.learn(scores))


def kaiming(importance: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Uniform within 1 / sqrt(fan_in) of 0; where a block is a whole output, standard normal.

    `importance`, of no importance here, has a number for each block, in the shape of the grid:
    (out, in/groups, *kernel) in blocks. The fan-in is the grid's.
    """
    import torch

    lots = torch.empty(importance.shape)
    if _fan_in(importance) == 1:
        return lots.normal_(generator=generator)
    bound = 1 / math.sqrt(_fan_in(importance))
    return lots.uniform_(-bound, bound, generator=generator)


def weight_rank(importance: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The magnitudes of `kaiming`, in exactly the order of the importances.

    Of equal importances the earlier stands higher. Lots that are equal are moved apart, to the next
    float32: they alone would let the position decide.
    """
    import torch

    lots = kaiming(importance, generator).abs().flatten().sort().values
    places = torch.arange(len(lots))
    bits = lots.view(torch.int32)  # which are in the order of the numbers, none being negative
    apart = ((bits - places).cummax(0).values + places).to(torch.int32).view(torch.float32)
    order = importance.flatten().argsort(descending=True, stable=True)
    scores = torch.empty_like(apart)
    scores[order] = apart.flip(0)
    return scores.reshape(importance.shape)


def weight_scaled(importance: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The importances themselves; another scale is another learning rate."""
    return importance.float()


def hydra(importance: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The importances, of which the greatest becomes sqrt(6 / fan_in)."""
    greatest = importance.max().clamp(min=1e-38)  # zeros stay zeros
    return (math.sqrt(6 / _fan_in(importance)) * importance / greatest).float()


def _fan_in(grid: torch.Tensor) -> int:
    return math.prod(grid.shape[1:])


_STARTS: dict[str, Callable[[torch.Tensor, torch.Generator], torch.Tensor]] = {
    "kaiming": kaiming,
    "weight_rank": weight_rank,
    "weight_scaled": weight_scaled,
    "hydra": hydra,
}


@ticketkit.hookimpl
def ticketkit_strategies() -> Iterator[type[ticketkit.Strategy]]:
    yield Lmp
