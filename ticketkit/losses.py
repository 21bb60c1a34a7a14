"""The loss that training and attacks share, unless the caller has another."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy as torch_cross_entropy

from ticketkit.errors import UsageError

IGNORED = 255
"""The class of pixels that no loss and no measure counts."""


def cross_entropies(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each example; in segmentation the mean over its pixels that count."""
    if targets.dim() == 1 or targets.is_floating_point():  # classes, or their probabilities
        losses = torch_cross_entropy(outputs, _classes(targets), reduction="none")
        return losses.reshape(len(losses), -1).mean(1)
    losses = torch_cross_entropy(outputs, targets.long(), reduction="none", ignore_index=IGNORED)
    count = (targets != IGNORED).flatten(1).sum(1)
    return losses.flatten(1).sum(1) / count.clamp(min=1)


def cross_entropy(outputs: Any, targets: Any) -> torch.Tensor:
    """The mean cross-entropy of outputs (batch, classes, ...) and targets (batch, ...).

    Where each pixel has a class, 255 is ignored; a batch of ignored pixels alone has a loss of 0.
    """
    if targets.dim() < 2 or targets.is_floating_point():  # classes, or their probabilities
        return torch_cross_entropy(outputs, _classes(targets))
    total = torch_cross_entropy(outputs, targets.long(), ignore_index=IGNORED, reduction="sum")
    loss: torch.Tensor = total / (targets != IGNORED).sum().clamp(min=1)
    return loss


def check_scalar(loss: Any) -> None:
    """Raise a `UsageError` for what a caller's loss may not return."""
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        kind = type(loss).__name__
        shape = f" of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else ""
        raise UsageError(f"the loss is no scalar: found a {kind}{shape}")


def _classes(targets: torch.Tensor) -> torch.Tensor:
    """Classes as torch takes them, of whatever whole numbers; probabilities as they are."""
    return targets if targets.is_floating_point() else targets.long()
