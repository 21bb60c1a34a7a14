"""Masks as other tools save them, made as their own code makes them."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

Weights = dict[str, torch.Tensor]


def network(seed: int = 0) -> nn.Sequential:
    """Layers of several kinds."""
    torch.manual_seed(seed)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 6, 3),
            bn=nn.BatchNorm2d(6),
            conv2=nn.Conv2d(6, 4, 1),
            attention=nn.MultiheadAttention(4, 2),
            fc=nn.Linear(4, 5),
        )
    )


def plain(model: nn.Module) -> Weights:
    """The state dict as it is now."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def pruned_by_torch(model: nn.Sequential) -> dict[str, torch.Tensor]:
    """Prune parameters of several kinds by torch.nn.utils.prune; the masks by parameter."""
    cut: Any = prune
    cut.global_unstructured(
        [(model.conv1, "weight"), (model.conv2, "weight")], cut.L1Unstructured, amount=0.6
    )
    cut.ln_structured(model.fc, "weight", amount=0.4, n=2, dim=0)
    cut.random_unstructured(model.fc, "bias", amount=2)
    cut.l1_unstructured(model.attention, "in_proj_weight", amount=0.3)
    return {
        name.removesuffix("_mask"): buffer.clone()
        for name, buffer in model.named_buffers()
        if name.endswith("_mask")
    }


def cv_lth(path: Path, *, parallel: bool, with_mask: bool) -> tuple[Weights, Weights]:
    """A checkpoint of CV_LTH_Pre-training after one round; the initial weights, and the masks.

    Convolutions but conv1 are pruned, the weights rewound, masked and trained on.
    """
    model = network()
    initial = plain(model)
    made: Any = prune
    made.global_unstructured([(model.conv2, "weight")], made.L1Unstructured, amount=0.2)
    whole = nn.DataParallel(model) if parallel else model
    masks = {
        name[len("module.") :] if "module" in name else name: tensor.clone()
        for name, tensor in whole.state_dict().items()
        if "mask" in name
    }
    made.remove(model.conv2, "weight")
    model.load_state_dict(initial)
    made.CustomFromMask.apply(model.conv2, "weight", mask=masks["conv2.weight_mask"])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)  # training
    saved = {
        "epoch": 10,
        "state": 1,
        "state_dict": model.state_dict(),
        "best_acc1": 76.0,
        "optimizer": torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9).state_dict(),
        "if_pruned": True,
        "init_weight": initial,
    }
    torch.save({**saved, "mask": masks} if with_mask else saved, path)
    return initial, {name.removesuffix("_mask"): mask for name, mask in masks.items()}


def open_lth(path: Path, mask: dict[str, torch.Tensor]) -> None:
    """A mask.pth of open_lth."""
    torch.save({name: keep.cpu().int() for name, keep in mask.items()}, path)


class Subnet(nn.Conv2d):
    """A convolution with scores over its grains, as hidden-networks and its followers have it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, axes: int) -> None:
        super().__init__(inputs, outputs, kernel, bias=False)
        self.scores = nn.Parameter(torch.randn(self.weight.shape[:axes]))


def hidden(path: Path, axes: int, *, parallel: bool, legacy: bool = False) -> dict[str, Any]:
    """A checkpoint of hidden-networks or Robust-Scratch-Ticket; its state dict, unwrapped."""
    torch.manual_seed(axes)
    model = nn.Sequential(
        OrderedDict(
            conv1=Subnet(3, 7, 3, axes),
            bn=nn.BatchNorm2d(7, affine=False),
            conv2=Subnet(7, 6, 1, axes),
            fc=Subnet(6, 10, 1, axes),
        )
    )
    whole = nn.DataParallel(model) if parallel else model
    saved = {
        "epoch": 1,
        "arch": "ResNet18",
        "state_dict": whole.state_dict(),
        "best_acc1": 0.0,
        "optimizer": torch.optim.SGD(model.parameters(), 0.1).state_dict(),
        "curr_acc1": "Not evaluated",
    }
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    return plain(model)


def get_subnet(scores: torch.Tensor, k: float) -> torch.Tensor:
    """The definition of the subnet: of |scores| the int((1 - k) n) lowest are 0, the others 1."""
    ranked = sorted(range(scores.numel()), key=lambda at: float(scores.flatten()[at].abs()))
    kept = torch.ones(scores.numel())
    kept[ranked[: int((1 - k) * scores.numel())]] = 0
    return kept.reshape(scores.shape)
