"""The loss that training and attacks share, unless the caller has another."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy

IGNORED = 255
"""The class of pixels that no loss and no measure counts."""


def cross_entropy(outputs: Any, targets: Any) -> torch.Tensor:
    """The mean cross-entropy of outputs (batch, classes, ...) and targets (batch, ...).

    Where each pixel has a class, 255 is ignored; a batch of ignored pixels alone has a loss of 0.
    """
    if targets.dim() < 2:
        return torch_cross_entropy(outputs, targets)
    total = torch_cross_entropy(outputs, targets.long(), ignore_index=IGNORED, reduction="sum")
    return total / (targets != IGNORED).sum().clamp(min=1)
