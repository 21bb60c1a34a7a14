"""Evaluator `per-class-accuracy`."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    import torch


class PerClassAccuracy(ticketkit.Evaluator):
    """The mean over classes of the share of a class's samples whose highest output is theirs.

    Outputs are (batch, classes), targets (batch,). Of equal outputs the first one counts. A class
    without samples has no part in the mean.

    The interval is the normal one of a stratified mean, for samples drawn class by class. Each
    class's variance is that of its share after one success and one failure more (Laplace's rule of
    succession): a class of which all, or none, are right is not taken to be certain.
    """

    name = "per-class-accuracy"

    def start(self) -> ticketkit.Accumulator:
        return _Counts()


class _Counts:
    """Samples so far, and those that were right, of each class."""

    def __init__(self) -> None:
        self.n = 0
        self.counts: torch.Tensor | None = None

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_predictions(outputs, targets, first=self.n)
        if outputs.dim() != 2:
            raise ticketkit.EvaluationError(
                f"per-class-accuracy takes outputs (batch, classes), found {tuple(outputs.shape)}"
            )
        classes, targets = outputs.shape[1], targets.long()
        # A class counts at 2 c, and at 2 c + 1 where the sample is right.
        cells = 2 * targets + (outputs.argmax(1) == targets)
        counts = cells.bincount(minlength=2 * classes).reshape(classes, 2)
        self.n += len(outputs)
        self.counts = counts if self.counts is None else self.counts + counts

    def compute(self) -> ticketkit.Estimate:
        if self.counts is None or not self.n:
            raise ticketkit.EvaluationError("per-class-accuracy: there is no sample to measure")
        occurring = self.counts[self.counts.any(1)].double()
        right, sizes = occurring[:, 1], occurring.sum(1)
        mean, smooth = (right / sizes).mean().item(), (right + 1) / (sizes + 2)
        variance = (smooth * (1 - smooth) / sizes).sum().item() / len(sizes) ** 2
        half = NormalDist().inv_cdf(0.975) * variance**0.5
        return ticketkit.Estimate(mean, self.n, max(0.0, mean - half), min(1.0, mean + half))


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield PerClassAccuracy
