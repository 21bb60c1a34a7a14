"""One pass over all scores: marks what lies above a bracket, collects what lies inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ticketkit.bits import Bits
from ticketkit.progress import Advance, stage
from ticketkit.sampling import Bracket
from ticketkit.scoring import reader_of
from ticketkit.tiled import Tiled
from ticketkit.tiling import Booleans, Floats, Integers


@dataclass
class Found:
    """The candidates of one layer: blocks inside the bracket, in order of position."""

    layer: Tiled
    above: int
    blocks: Integers
    scores: Floats
    sizes: Integers | int
    ties: Bits | None

    def drop(self, at: int) -> None:
        """Take one candidate out."""
        self.blocks = np.delete(self.blocks, at)
        self.scores = np.delete(self.scores, at)
        if not isinstance(self.sizes, int):
            self.sizes = np.delete(self.sizes, at)

    def each_size(self) -> Integers:
        """The size of each candidate."""
        return np.broadcast_to(self.sizes, self.blocks.shape)


def sweep(
    layers: Sequence[Tiled],
    scores: Mapping[str, torch.Tensor],
    bracket: Bracket,
    dtype: np.dtype[Any],
) -> list[Found]:
    """Mark in each layer, afresh, what scores above the bracket; return what lies inside.

    Where the bracket is one tied score, the blocks inside are returned as bits.
    """
    with stage("ranking", sum(layer.tiling.elements for layer in layers), "weights") as advance:
        return [_sweep(layer, scores, bracket, dtype, advance) for layer in layers]


def _sweep(
    layer: Tiled,
    scores: Mapping[str, torch.Tensor],
    bracket: Bracket,
    dtype: np.dtype[Any],
    advance: Advance,
) -> Found:
    low, high = dtype.type(bracket.low), dtype.type(bracket.high)
    ties = np.zeros_like(layer.marks) if bracket.tied else None
    # Candidates are what a draw remembers most of.
    places = np.uint32 if layer.tiling.count <= 2**32 else np.int64
    weight = 0
    inside: list[tuple[Integers, Floats]] = []
    inside_sizes: list[Integers] = []
    for span, values, sizes in layer.pieces(reader_of(scores, layer.name)):
        advance(span.stop - span.start)
        values = values.astype(dtype, copy=False)
        above = values > high
        target = slice(span.first >> 3, (span.last + 7) >> 3)
        layer.marks[target] = np.packbits(above, bitorder="little")
        weight += weight_of(above, sizes)
        if ties is not None:
            ties[target] = np.packbits(values == high, bitorder="little")
            continue
        near = values >= low
        near ^= above
        at = near.nonzero()[0]
        inside.append(((at + span.first).astype(places), values[at]))
        if not isinstance(sizes, int):
            inside_sizes.append(sizes[at])
    if not inside:
        return Found(layer, weight, np.empty(0, np.int64), np.empty(0, dtype), 1, ties)
    blocks, found = (np.concatenate(column) for column in zip(*inside, strict=True))
    own = np.concatenate(inside_sizes) if inside_sizes else layer.tiling.size
    return Found(layer, weight, blocks, found, own, ties)


def weight_of(chosen: Booleans, sizes: Integers | int) -> int:
    if isinstance(sizes, int):
        return int(np.count_nonzero(chosen)) * sizes
    return int(sizes[chosen].sum())
