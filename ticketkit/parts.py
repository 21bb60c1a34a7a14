"""The kinds of part that a plugin can offer: a method each, and a `name`.

A part holds no state. Its options, where it has any, are the fields of a frozen dataclass; help,
validation and provenance derive from them.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import torch

    from ticketkit.layer import Layer
    from ticketkit.mask import Mask
    from ticketkit.selection import Budget


class Part(ABC):
    """What all parts have: a name, by which spec strings and provenance know them."""

    name: ClassVar[str]


class Scheme(Part):
    """Which weights live and die together?

    Most schemes are tilings: write a `BlockScheme`. Anything else selects by itself.
    """

    @abstractmethod
    def select(
        self, scores: Mapping[str, torch.Tensor], budget: Budget, within: Mask | None
    ) -> Mask:
        """Choose what to keep.

        `scores` maps each layer's name to its scores, shape (out, in/groups, *kernel); reading one
        computes it, so hold one at a time. `budget.total` weights are kept at most, and
        `budget.shares[name]` of each layer where there are shares. Positions outside `within` were
        removed earlier and must stay removed. Return a mask over the same names and shapes.
        """


class BlockScheme(Scheme):
    """A scheme whose groups are the blocks of a regular tiling.

    >>> class Pair(BlockScheme):
    ...     name = "pair"
    ...     def block(self, shape):
    ...         return (2, *shape[1:])
    """

    @abstractmethod
    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The size of a block in a layer of this shape, (out, in/groups, *kernel).

        A linear layer's shape is (out, in). Blocks at the edges may come out smaller.
        """

    def select(
        self, scores: Mapping[str, torch.Tensor], budget: Budget, within: Mask | None
    ) -> Mask:
        """Keep the best blocks by mean score; see `ticketkit.selection`."""
        from ticketkit.selection import select_tiles

        return select_tiles(self.block, scores, budget, within)


@dataclass(frozen=True)
class Context:
    """What a criterion may know beside the weight. New fields may join these."""

    name: str
    """The parameter's name."""
    seed: int
    """The seed of the draw."""

    @property
    def generator(self) -> torch.Generator:
        """A new generator, seeded by the seed of the draw and the parameter's name."""
        import torch

        digest = hashlib.sha256(f"{self.seed}\0{self.name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class Criterion(Part):
    """How much does a weight matter? The higher its score, the later it is removed.

    >>> class Magnitude(Criterion):
    ...     name = "magnitude"
    ...     def score(self, weight, context):
    ...         return weight.abs()
    """

    elementwise: ClassVar[bool] = True
    """Whether a score depends on its weight alone. Such a criterion is called on flat pieces of a
    layer, and on samples; any other gets whole layers, shape (out, in/groups, *kernel)."""

    @abstractmethod
    def score(self, weight: torch.Tensor, context: Context) -> torch.Tensor:
        """Finite floating scores of the weight's shape. The weight is float32 or float64, on the
        CPU, and is not to be changed."""


class Allocation(Part):
    """How is the budget shared between layers?

    >>> class Uniform(Allocation):
    ...     name = "uniform"
    ...     def budgets(self, layers, keep):
    ...         return {name: keep(layer.size) for name, layer in layers.items()}
    """

    @abstractmethod
    def budgets(
        self, layers: Mapping[str, Layer], keep: Callable[[int], int]
    ) -> Mapping[str, int] | None:
        """How many weights of each layer to keep; None for one ranking over all layers.

        `layers` tells each layer's `shape` and `size`; `keep(n)` is how many of n weights the
        asked sparsity keeps, rounded as torch.nn.utils.prune does.
        """


@dataclass(frozen=True)
class Round:
    """What one round of a strategy found."""

    mask: Mask


class Job(Protocol):
    """What a strategy works on: the network, and the parts that it is combined with."""

    def select(self, sparsity: float) -> Mask:
        """Score, allocate and select once: the mask of this sparsity."""

    @property
    def sparsity(self) -> float:
        """The sparsity asked for."""


class Strategy(Part):
    """How is the mask found over time?

    >>> class Omp(Strategy):
    ...     name = "omp"
    ...     def rounds(self, job):
    ...         yield Round(job.select(job.sparsity))
    """

    @abstractmethod
    def rounds(self, job: Job) -> Iterator[Round]:
        """Yield each round as it is finished; the last one's mask is the ticket's."""
