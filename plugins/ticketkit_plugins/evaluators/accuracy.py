"""Evaluator `accuracy`."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    import torch


class Accuracy(ticketkit.Evaluator):
    """The shares of samples that are right: top-1, top-5, and the mean over classes.

    Outputs are (batch, classes), targets (batch,). `top1`: the highest output is that of the class;
    `top5`, of networks with more than five classes: one of the five highest is. Of equal outputs
    the first ones count. Both have Wilson's interval.

    `per_class` is the mean over classes of the share of a class's samples that are right, top-1; a
    class without samples has no part in it. Its interval is the normal one of a stratified mean,
    for samples drawn class by class. Each class's variance is that of its share after one success
    and one failure more (Laplace's rule of succession): a class of which all, or none, are right is
    not taken to be certain.
    """

    name = "accuracy"

    def start(self) -> ticketkit.Accumulator:
        return _Counts()


class _Counts:
    """Samples so far, those that were right, and of each class both."""

    def __init__(self) -> None:
        self.n = self.among_five = self.classes = 0
        self.counts: torch.Tensor | None = None
        """(classes, 2): wrong and right samples of each class."""

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_dimensions(outputs, 2, "accuracy")
        ticketkit.check_predictions(outputs, targets, first=self.n)
        classes, targets = outputs.shape[1], targets.long()
        cells = 2 * targets + (outputs.argmax(1) == targets)
        counts = cells.bincount(minlength=2 * classes).reshape(classes, 2)
        self.n += len(outputs)
        self.counts = counts if self.counts is None else self.counts + counts
        if classes > 5:
            self.among_five += int((_before(outputs, targets) < 5).sum())

    def compute(self) -> ticketkit.Figures:
        if self.counts is None or not self.n:
            raise ticketkit.EvaluationError("accuracy: there is no sample to measure")
        figures = {"top1": ticketkit.Estimate.share(int(self.counts[:, 1].sum()), self.n)}
        if len(self.counts) > 5:
            figures["top5"] = ticketkit.Estimate.share(self.among_five, self.n)
        return {**figures, "per_class": self._per_class(self.counts)}

    def _per_class(self, counts: torch.Tensor) -> ticketkit.Estimate:
        occurring = counts[counts.any(1)].cpu().double()  # some devices have no float64
        right, sizes = occurring[:, 1], occurring.sum(1)
        mean, smooth = (right / sizes).mean().item(), (right + 1) / (sizes + 2)
        variance = (smooth * (1 - smooth) / sizes).sum().item() / len(sizes) ** 2
        half = NormalDist().inv_cdf(0.975) * variance**0.5
        low, high = max(0.0, mean - half), min(1.0, mean + half)
        return ticketkit.Estimate(mean, self.n, low, high, unit="share")


def _before(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How many classes come before a sample's own: those of higher outputs, and earlier equals."""
    own = outputs.gather(1, targets[:, None])
    higher = (outputs > own).sum(1)
    equal = (outputs == own).cumsum(1).gather(1, targets[:, None])[:, 0] - 1
    return higher + equal


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield Accuracy
