"""What row, kernel and channel mean, said with loops over a layer's own weights.

Independent of the presented view: each weight is named by the output channel and the input channel
that it joins and by its place in the kernel, as PyTorch's documentation of each layer has it.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

import ticketkit

Key = tuple[int, ...]
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(9, 7),
    "conv1d": lambda: nn.Conv1d(4, 6, 5),
    "conv2d": lambda: nn.Conv2d(3, 8, (3, 2)),
    "conv3d": lambda: nn.Conv3d(2, 4, (2, 1, 3)),
    "pointwise": lambda: nn.Conv2d(6, 5, 1),
    "grouped": lambda: nn.Conv2d(8, 12, 3, groups=4),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, groups=6),
    "multiplied depthwise": lambda: nn.Conv2d(3, 6, 3, groups=3),
    "transposed 1d": lambda: nn.ConvTranspose1d(6, 4, 3),
    "transposed 2d": lambda: nn.ConvTranspose2d(4, 6, (3, 2)),
    "transposed 3d": lambda: nn.ConvTranspose3d(2, 3, (1, 2, 3)),
    "transposed grouped": lambda: nn.ConvTranspose2d(6, 9, (3, 2), groups=3),
    "transposed depthwise": lambda: nn.ConvTranspose2d(4, 4, 3, groups=4),
}


def layer(name: str) -> nn.ModuleDict:
    """A network of one layer, the same each time."""
    torch.manual_seed(sum(map(ord, name)))
    return nn.ModuleDict({"layer": LAYERS[name]()})


def weight_of(module: nn.Module) -> torch.Tensor:
    """A layer's weight, to be written to or read."""
    return module.get_parameter("weight").detach()


def joins(module: nn.Module) -> Iterator[tuple[Key, Key]]:
    """Each weight's index, and (output channel, input channel, *place in the kernel)."""
    shape = weight_of(module).shape
    for index in itertools.product(*map(range, shape)):
        first, second, *place = index
        if isinstance(module, _ConvTransposeNd):
            # Input channel `first` is of group `first // inputs`; `second` counts in the group.
            group = first // (module.in_channels // module.groups)
            yield index, (group * shape[1] + second, first, *place)
        elif isinstance(module, _ConvNd):
            # Output channel `first` is of group `first // outputs`; `second` counts in the group.
            group = first // (module.out_channels // module.groups)
            yield index, (first, group * shape[1] + second, *place)
        else:
            yield index, (first, second)


def mask_of(module: nn.Module, grain: Callable[[Key], Key], sparsity: float) -> Any:
    """The grains of highest mean magnitude, as many as fit: an oracle without blocks or tilings."""
    weight: Any = weight_of(module).numpy()
    grains: dict[Key, list[Key]] = defaultdict(list)
    for index, join in joins(module):
        grains[grain(join)].append(index)
    room = weight.size - round(sparsity * weight.size)
    keep = np.zeros(weight.shape, bool)
    for members in sorted(
        grains.values(), key=lambda m: -np.mean([abs(float(weight[i])) for i in m])
    ):
        room -= len(members)
        if room < 0:
            break
        for index in members:
            keep[index] = True
    return keep


def drawn(network: nn.Module, scheme: ticketkit.Scheme, sparsity: float) -> Any:
    """The mask of a network's one layer."""
    ticket = ticketkit.draw(network, scheme=scheme, sparsity=sparsity)
    return ticket.mask["layer.weight"].numpy()


def count(scheme: ticketkit.BlockScheme, network: nn.Module) -> int:
    """The number of blocks of all convolutions of a network."""
    shapes = [m.weight.shape for m in network.modules() if isinstance(m, nn.Conv2d)]
    return sum(_blocks(tuple(shape), scheme.block(tuple(shape))) for shape in shapes)


def _blocks(shape: Key, block: Key) -> int:
    count = 1
    for side, length in zip(block, shape, strict=True):
        assert length % side == 0
        count *= length // side
    return count
