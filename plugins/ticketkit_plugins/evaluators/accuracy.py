"""Evaluator `accuracy`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    import torch


class Accuracy(ticketkit.Evaluator):
    """The share of samples whose highest output is that of their class, with Wilson's interval.

    Outputs are (batch, classes), targets (batch,). Of equal outputs the first one counts.
    """

    name = "accuracy"

    def start(self) -> ticketkit.Accumulator:
        return _Count()


class _Count:
    """Samples so far, and those that were right."""

    def __init__(self) -> None:
        self.n, self.right = 0, 0

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_predictions(outputs, targets, first=self.n)
        if outputs.dim() != 2:
            raise ticketkit.EvaluationError(
                f"accuracy takes outputs (batch, classes), found {tuple(outputs.shape)}"
            )
        self.n += len(outputs)
        self.right += int((outputs.argmax(1) == targets).sum())

    def compute(self) -> ticketkit.Estimate:
        if not self.n:
            raise ticketkit.EvaluationError("accuracy: there is no sample to measure")
        low, high = ticketkit.wilson(self.right, self.n)
        return ticketkit.Estimate(self.right / self.n, self.n, low, high)


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield Accuracy
