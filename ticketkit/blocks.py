"""The blocks that a scheme cuts layers into, and how much each of them matters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ticketkit.blame import blamed
from ticketkit.layer import Layer
from ticketkit.parts import BlockScheme, Scheme
from ticketkit.scoring import reader_of, shape_of
from ticketkit.tiled import Tiled
from ticketkit.tiling import Tiling


def tiling_of(scheme: Scheme, name: str, shape: tuple[int, ...]) -> Tiling:
    """The blocks of a layer of this presented shape: single weights where there are no tiles."""
    block: object = (1,) * len(shape)
    with blamed(scheme):
        if isinstance(scheme, BlockScheme):
            block = scheme.block(shape)
        return Tiling.of(name, shape, block)


def tilings_of(scheme: Scheme, layers: Mapping[str, Layer]) -> dict[str, Tiling]:
    """The blocks of each layer."""
    return {name: tiling_of(scheme, name, layer.shape) for name, layer in layers.items()}


def block_scores(scheme: Scheme, scores: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The mean score of each block, float64, in the shape of the layer's grid of blocks."""
    found = {}
    for name in scores:
        tiling = tiling_of(scheme, name, shape_of(scores, name))
        pieces = Tiled(name, tiling, None).pieces(reader_of(scores, name))
        values = [means.astype(np.float64).reshape(-1) for _, means, _ in pieces]
        whole = np.concatenate(values) if values else np.empty(0)
        found[name] = torch.from_numpy(whole).reshape(tiling.grid)
    return found
