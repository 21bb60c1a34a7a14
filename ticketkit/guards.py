"""What every measure must refuse, rather than count: outputs and labels that mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ticketkit.errors import EvaluationError

if TYPE_CHECKING:
    import torch


def check_predictions(
    outputs: torch.Tensor, targets: torch.Tensor, *, first: int = 0, ignored: int | None = None
) -> None:
    """Raise an EvaluationError unless outputs, (batch, classes, ...), and labels fit each other.

    Outputs are finite and floating, of two classes or more, labels whole numbers from 0 to
    classes - 1 or `ignored`, of shape (batch, ...). `first` is the index in the pass of the batch's
    first sample: the error names the first bad one by it. Fewer labels in use than classes are
    fine.
    """
    expected = (*outputs.shape[:1], *outputs.shape[2:])
    if outputs.dim() < 2 or tuple(targets.shape) != expected:
        raise EvaluationError(
            "expected outputs (batch, classes, ...) and targets (batch, ...), found "
            f"{tuple(outputs.shape)} and {tuple(targets.shape)}"
        )
    if outputs.shape[1] < 2:
        # Such as the one logit of a yes or no, of which the highest class is always the first.
        raise EvaluationError(f"outputs are of two classes or more, found {outputs.shape[1]}")
    check_finite(outputs, first)
    check_labels(targets, outputs.shape[1], first, ignored)


def check_dimensions(outputs: torch.Tensor, dimensions: int, taker: str) -> None:
    """Raise an EvaluationError that names who takes outputs of so many dimensions, unless it can.

    2 are (batch, classes), 4 (batch, classes, height, width).
    """
    if outputs.dim() != dimensions:
        expected = ", ".join(("batch", "classes", "height", "width")[:dimensions])
        raise EvaluationError(f"{taker} takes outputs ({expected}), found {tuple(outputs.shape)}")


def check_finite(outputs: torch.Tensor, first: int = 0) -> None:
    """Raise an EvaluationError that names the first sample whose outputs are not finite numbers."""
    if not outputs.is_floating_point():
        raise EvaluationError(f"outputs are floating numbers, found {outputs.dtype}")
    finite = outputs.isfinite()
    if not finite.all():
        bad = _first(~finite)
        raise EvaluationError(f"sample {first + bad}: the network's output is NaN or infinite")


def check_labels(
    targets: torch.Tensor, classes: int, first: int = 0, ignored: int | None = None
) -> None:
    """Raise an EvaluationError that names the first label that is no class, and the classes."""
    if targets.is_floating_point() or targets.is_complex():
        raise EvaluationError(f"labels are whole numbers, found {targets.dtype}")
    targets = targets.long()  # in uint8 there is no class 256 to compare with
    outside = (targets < 0) | (targets >= classes)
    if ignored is not None:
        outside &= targets != ignored
    if outside.any():
        bad = _first(outside)
        label = targets[bad][outside[bad]].flatten()[0].item()
        but = "" if ignored is None else f", or {ignored} to be ignored"
        raise EvaluationError(
            f"sample {first + bad}: label {label} is out of range: the network has {classes} "
            f"classes, labels are 0 to {classes - 1}{but}"
        )


def _first(bad: torch.Tensor) -> int:
    """The index of the first sample that is bad anywhere."""
    return int(bad.flatten(1).any(1).int().argmax() if bad.dim() > 1 else bad.int().argmax())
