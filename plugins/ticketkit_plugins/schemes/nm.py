"""Scheme `nm`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch

# Weights per piece, about: 1 MiB of float32.
_PIECE = 2**18
# Up to this length, comparing each pair of a run is faster than sorting it.
_SHORT = 64


@dataclass(frozen=True)
class NM(ticketkit.Scheme):
    """Of every `m` neighbouring weights the `n` of highest score, such as 2:4.

    Mishra et al. 2021, arXiv 2104.08378. Runs follow (in, *kernel) within one output channel; among
    equal scores the earlier weight is kept. The sparsity is 1 - n/m. A layer whose outputs do not
    have a multiple of m weights each is spared.
    """

    name = "nm"
    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        if type(self.n) is not int or type(self.m) is not int or not 1 <= self.n <= self.m:
            raise ticketkit.UsageError(
                "nm keeps n of every m weights, whole numbers with 1 <= n <= m; "
                f"found n={self.n!r}, m={self.m!r}"
            )

    @property
    def fixed_sparsity(self) -> float:
        return 1 - self.n / self.m

    def spares(self, shape: tuple[int, ...]) -> str | None:
        length = math.prod(shape[1:])
        return f"{length} weights an output, no multiple of {self.m}" if length % self.m else None

    def select(
        self,
        scores: Mapping[str, torch.Tensor],
        budget: ticketkit.Budget,
        within: ticketkit.Mask | None,
    ) -> ticketkit.Mask:
        return ticketkit.Mask({name: self._packed(name, scores, within) for name in scores})

    def _packed(
        self, name: str, scores: Mapping[str, torch.Tensor], within: ticketkit.Mask | None
    ) -> ticketkit.PackedBits:
        import numpy as np

        reader = ticketkit.reader_of(scores, name)
        size, unit = math.prod(reader.shape), math.lcm(8, self.m)
        step = max(unit, _PIECE // unit * unit)  # whole runs, and whole bytes of bits
        bits = np.empty((size + 7) // 8, np.uint8)
        alive = within.packed(name).bits if within else None
        for start in range(0, size, step):
            stop = min(start + step, size)
            place = slice(start >> 3, (stop + 7) >> 3)
            values = reader.read(start, stop)
            if alive is None:
                bits[place] = np.packbits(self._best(values), bitorder="little")
                continue
            left = np.unpackbits(alive[place], bitorder="little", count=stop - start) > 0
            best = self._best(np.where(left, values, -np.inf))
            bits[place] = np.packbits(best & left, bitorder="little")
        return ticketkit.PackedBits(reader.shape, bits)

    def _best(self, values: Any) -> Any:
        """Whether each of these weights, whole runs of them, is among the best n of its run."""
        import numpy as np

        runs = values.reshape(-1, self.m)
        if self.m > _SHORT:
            order = np.argsort(-runs, axis=1, kind="stable")[:, : self.n]
            keep = np.zeros(runs.shape, np.bool_)
            np.put_along_axis(keep, order, values=True, axis=1)
            return keep.reshape(-1)
        places = np.ascontiguousarray(runs.T)  # a row for each place in a run
        better = np.zeros(places.shape, np.uint8)  # how many of its run stand before it
        for place in range(self.m - 1):
            first = places[place] >= places[place + 1 :]
            better[place + 1 :] += first
            better[place] += (~first).sum(0, dtype=np.uint8)
        return (better < self.n).T.reshape(-1)


@ticketkit.hookimpl
def ticketkit_schemes() -> Iterator[type[ticketkit.Scheme]]:
    yield NM
