"""The networks that rows measure, and the sizes at which a row runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

import ticketkit
from ticketkit.bits import BlockBits

SCHEMES = ("unstructured", "channel", "row", "kernel")


@dataclass(frozen=True)
class Scale:
    """How large a row's work is; `FULL` unless a test only wants to know that rows run."""

    runs: int
    network: str
    many: str
    """A network of a hundred million weights."""
    huge: str
    """A network of five hundred million weights."""
    shard_layers: int
    """How many groups of four 4096 x 4096 weights each of four shards holds."""
    trained: str
    batch: tuple[int, ...]
    alone: bool
    """Measure memory in processes of their own."""
    every_peer: bool
    """Run also those peers that take seconds to import."""


def build(name: str) -> nn.Module:
    """The network of this name, with random weights."""
    torch.manual_seed(0)
    return _NETWORKS[name]()


def drawn(
    network: nn.Module, scheme: str = "unstructured", sparsity: float = 0.9
) -> ticketkit.Mask:
    """What rows measure: the mask of a ticket of this network."""
    return ticketkit.draw(network, scheme=scheme, sparsity=sparsity).mask


def packed_bytes(mask: ticketkit.Mask) -> int:
    """What a mask takes: one bit a weight, or one a block."""
    parts = (mask.packed(name) for name in mask)
    return sum((p.blocks if isinstance(p, BlockBits) else p.bits).nbytes for p in parts)


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that a draw ranks, by name."""
    parameters = dict(network.named_parameters())
    return {name: parameters[name].detach() for name in drawn(network)}


def _resnet50() -> nn.Module:
    from torchvision.models import resnet50

    network: nn.Module = resnet50(weights=None)
    return network


def _resnet18() -> nn.Module:
    """For 32 x 32 px: a 3 x 3 stem that keeps the resolution."""
    from torchvision.models import resnet18

    network = resnet18(weights=None, num_classes=10)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    changed: nn.Module = network
    return changed


def _tiny() -> nn.Module:
    convolutions = [nn.Conv2d(inputs, 32, 3, padding=1) for inputs in (3, 32, 32)]
    network = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.add_module("fc", nn.Linear(32, 10))
    return network


def _linears(count: int, side: int) -> nn.Module:
    return _filled([nn.Linear(side, side, bias=False, device="meta") for _ in range(count)])


def _convolutions(count: int, side: int) -> nn.Module:
    return _filled([nn.Conv2d(side, side, 3, bias=False, device="meta") for _ in range(count)])


def _filled(layers: Iterable[nn.Module]) -> nn.Module:
    network = nn.Sequential(*layers).to_empty(device="cpu")
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=1 / math.sqrt(parameter[0].numel()))
    return network


_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": _resnet50,
    "resnet18": _resnet18,
    "linears-500M": lambda: _linears(30, 4096),
    "convolutions-100M": lambda: _convolutions(11, 1024),
    "tiny": _tiny,
}

FULL = Scale(
    runs=9,
    network="resnet50",
    many="convolutions-100M",
    huge="linears-500M",
    shard_layers=8,
    trained="resnet18",
    batch=(64, 3, 32, 32),
    alone=True,
    every_peer=True,
)
TINY = Scale(
    runs=1,
    network="tiny",
    many="tiny",
    huge="tiny",
    shard_layers=1,
    trained="tiny",
    batch=(2, 3, 8, 8),
    alone=False,
    every_peer=False,
)
