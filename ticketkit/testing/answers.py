"""Networks by what they answer: several classes, numbers that are none, in a bad shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ticketkit.testing import cases


def varied(pictures: torch.Tensor) -> nn.Module:
    """`cases.runnable`, fitted to these pictures in so far as it answers with several classes.

    The normalisation has their statistics; scores have mean 0 and deviation 1 on them.
    """
    model = cases.runnable().eval()
    norm: Any = model["norm"]
    linear: Any = model["linear"]
    with torch.no_grad():
        found = model["conv"](pictures)
        norm.running_mean.copy_(found.mean((0, 2, 3)))
        norm.running_var.copy_(found.var((0, 2, 3)))
        scores = model(pictures)
        linear.bias.sub_(scores.mean(0)).div_(scores.std(0))
        linear.weight.div_(scores.std(0)[:, None])
    return model


def last_times(model: nn.Module, factor: float) -> nn.Module:
    """The network, but the outputs for the last sample of each batch are multiplied."""
    return _Changed(model, lambda outputs: torch.cat([outputs[:-1], outputs[-1:] * factor]))


def flattened(model: nn.Module, dimensions: int) -> nn.Module:
    """The network, but of its outputs' dimensions the first ones alone are there."""

    def less(outputs: torch.Tensor) -> torch.Tensor:
        while outputs.dim() > dimensions:
            outputs = outputs[..., 0]
        return outputs

    return _Changed(model, less)


class _Changed(nn.Module):
    def __init__(self, model: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.change(self.model(pictures))
