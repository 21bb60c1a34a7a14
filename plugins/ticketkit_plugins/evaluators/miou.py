"""Evaluator `miou`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    import torch

_IGNORED = 255


class MeanIoU(ticketkit.Evaluator):
    """The mean over classes of intersection over union, of one confusion matrix for all pictures.

    Outputs are (batch, classes, height, width), targets (batch, height, width); pixels of label 255
    are ignored. A class that occurs in neither labels nor predictions has no part in the mean. `n`
    counts pictures; there is no interval, as pixels are no independent samples.
    """

    name = "miou"

    def start(self) -> ticketkit.Accumulator:
        return _Confusion()


class _Confusion:
    """Pictures so far, and how often each class, a row, was predicted as each other, a column."""

    def __init__(self) -> None:
        self.n = 0
        self.counts: torch.Tensor | None = None

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_predictions(outputs, targets, first=self.n, ignored=_IGNORED)
        if outputs.dim() != 4:
            raise ticketkit.EvaluationError(
                f"miou takes outputs (batch, classes, height, width), found {tuple(outputs.shape)}"
            )
        classes, known = outputs.shape[1], targets != _IGNORED
        cells = targets[known].long() * classes + outputs.argmax(1)[known]
        counts = cells.bincount(minlength=classes**2).reshape(classes, classes)
        self.n += len(outputs)
        self.counts = counts if self.counts is None else self.counts + counts

    def compute(self) -> ticketkit.Figures:
        if self.counts is None or not self.counts.any():
            raise ticketkit.EvaluationError("miou: there is no pixel with a class to measure")
        both = self.counts.diagonal().double()
        either = (self.counts.sum(0) + self.counts.sum(1)).double() - both
        occurs = either > 0
        mean = (both[occurs] / either[occurs]).mean().item()
        return {"miou": ticketkit.Estimate(mean, self.n, unit="share")}


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield MeanIoU
