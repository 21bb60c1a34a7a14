"""One pass over all scores: marks what lies above a bracket, collects what lies inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ticketkit.bits import Bits
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
    sizes: Integers
    ties: Bits | None

    def drop(self, at: int) -> None:
        """Take one candidate out."""
        self.blocks = np.delete(self.blocks, at)
        self.scores = np.delete(self.scores, at)
        self.sizes = np.delete(self.sizes, at)


def sweep(
    layers: Sequence[Tiled],
    scores: Mapping[str, torch.Tensor],
    bracket: Bracket,
    dtype: np.dtype[Any],
) -> list[Found]:
    """Mark in each layer, afresh, what scores above the bracket; return what lies inside.

    Where the bracket is one tied score, the blocks inside are returned as bits.
    """
    return [_sweep(layer, scores, bracket, dtype) for layer in layers]


def _sweep(
    layer: Tiled, scores: Mapping[str, torch.Tensor], bracket: Bracket, dtype: np.dtype[Any]
) -> Found:
    low, high = dtype.type(bracket.low), dtype.type(bracket.high)
    ties = np.zeros_like(layer.marks) if bracket.tied else None
    weight = 0
    inside: list[tuple[Integers, Floats, Integers]] = []
    for span, values, sizes in layer.pieces(reader_of(scores, layer.name)):
        values = values.astype(dtype, copy=False)
        above = values > high
        target = slice(span.first >> 3, (span.last + 7) >> 3)
        layer.marks[target] = np.packbits(above, bitorder="little")
        weight += _weight(above, sizes)
        if ties is not None:
            ties[target] = np.packbits(values == high, bitorder="little")
            continue
        near = values >= low
        near ^= above
        at = np.flatnonzero(near)
        inside.append((at + span.first, values[at], np.broadcast_to(sizes, len(values))[at]))
    if not inside:
        nothing = np.empty(0, np.int64)
        return Found(layer, weight, nothing, np.empty(0, dtype), nothing, ties)
    blocks, found, sizes = (np.concatenate(column) for column in zip(*inside, strict=True))
    return Found(layer, weight, blocks, found, sizes, ties)


def _weight(chosen: Booleans, sizes: Integers | int) -> int:
    if isinstance(sizes, int):
        return int(np.count_nonzero(chosen)) * sizes
    return int(sizes[chosen].sum())
