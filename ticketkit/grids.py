"""Numbers of blocks, in the shape of a layer's grid, and numbers of the weights in them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch

from ticketkit.blame import blamed
from ticketkit.layer import Layer
from ticketkit.parts import BlockScheme, Scheme
from ticketkit.scoring import reader_of
from ticketkit.tiled import Tiled
from ticketkit.tiling import Tiling


def tilings_of(scheme: Scheme, layers: Mapping[str, Layer]) -> dict[str, Tiling]:
    """The blocks that have a score each: those of a tiling, single weights of any other scheme."""
    with blamed(scheme):
        return {name: _tiling(scheme, layer) for name, layer in layers.items()}


def block_scores(
    scores: Mapping[str, torch.Tensor], tilings: Mapping[str, Tiling]
) -> dict[str, torch.Tensor]:
    """The mean score of each block, in float64 and in the shape of its layer's grid.

    `scores` are those of single weights, each layer's in its presented shape.
    """
    return {name: _means(name, scores, tiling) for name, tiling in tilings.items()}


def expanded(blocks: torch.Tensor, tiling: Tiling) -> torch.Tensor:
    """The number of each block at each of its weights: from the grid's shape to the layer's."""
    if tiling.size == 1:
        return blocks
    pairs = list(zip(tiling.grid, tiling.block, strict=True))
    single = blocks.reshape([side for grid, _ in pairs for side in (grid, 1)])
    whole = single.expand(list(itertools.chain(*pairs)))
    found = whole.reshape([grid * block for grid, block in pairs])
    return found[tuple(map(slice, tiling.shape))]


def block_sums(values: torch.Tensor, tiling: Tiling) -> torch.Tensor:
    """The sum over each block: from the layer's shape to the grid's."""
    if tiling.size == 1:
        return values
    sides = list(zip(tiling.shape, tiling.grid, tiling.block, strict=True))
    if not tiling.equal:
        short = [n for length, grid, block in reversed(sides) for n in (0, grid * block - length)]
        values = torch.nn.functional.pad(values, short)
    split = values.reshape([side for _, grid, block in sides for side in (grid, block)])
    return split.sum(tuple(range(1, 2 * len(sides), 2)))


def _tiling(scheme: Scheme, layer: Layer) -> Tiling:
    single = (1,) * len(layer.shape)
    block = scheme.block(layer.shape) if isinstance(scheme, BlockScheme) else single
    return Tiling.of(layer.name, layer.shape, block)


def _means(name: str, scores: Mapping[str, torch.Tensor], tiling: Tiling) -> torch.Tensor:
    pieces = Tiled(name, tiling, None).pieces(reader_of(scores, name))
    means = np.concatenate([values.astype(np.float64) for _, values, _ in pieces])
    return torch.from_numpy(means).reshape(tiling.grid)
