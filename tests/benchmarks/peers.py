"""How others find a global mask: each takes the network and leaves it alone or works on a copy."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune

SPARSITY = 0.9


def partition(weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """NumPy: the magnitudes of all layers together, partitioned at the rank, and a threshold."""
    magnitudes = np.concatenate([np.abs(weight.numpy()).reshape(-1) for weight in weights])
    rank = round(SPARSITY * magnitudes.size)
    magnitudes.partition(rank)
    threshold = float(magnitudes[rank])
    return [weight.abs() >= threshold for weight in weights]


def topk(weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """PyTorch: the k largest magnitudes of all layers together, scattered into one mask."""
    magnitudes = torch.cat([weight.abs().reshape(-1) for weight in weights])
    count = magnitudes.numel() - round(SPARSITY * magnitudes.numel())
    mask = torch.zeros_like(magnitudes, dtype=torch.bool)
    mask[torch.topk(magnitudes, count, sorted=False).indices] = True
    return list(torch.split(mask, [weight.numel() for weight in weights]))


def global_unstructured(network: nn.Module, names: Iterable[str]) -> nn.Module:
    """torch.nn.utils.prune, which changes the network that it is given."""
    targets = [(network.get_submodule(n.rpartition(".")[0]), n.rpartition(".")[2]) for n in names]
    prune.global_unstructured(targets, prune.L1Unstructured, amount=SPARSITY)
    return network


def custom_masks(network: nn.Module, masks: dict[str, torch.Tensor]) -> nn.Module:
    """torch.nn.utils.prune with these masks: a pre-hook multiplies before each forward."""
    for name, mask in masks.items():
        path, _, last = name.rpartition(".")
        prune.custom_from_mask(network.get_submodule(path), last, mask)  # type: ignore[no-untyped-call]
    return network


class StructuralPruner:
    """torch-pruning: global magnitude importance of channels and the choice, nothing removed."""

    def __init__(self, network: nn.Module) -> None:
        import torch_pruning

        network = copy.deepcopy(network).eval()
        self._pruner = torch_pruning.pruner.MetaPruner(
            network,
            torch.zeros(1, 3, 64, 64),
            importance=torch_pruning.importance.MagnitudeImportance(p=1),
            global_pruning=True,
            pruning_ratio=SPARSITY,
            ignored_layers=[m for m in network.modules() if isinstance(m, nn.Linear)],
        )

    def __call__(self) -> object:
        return list(self._pruner.step(interactive=True))
