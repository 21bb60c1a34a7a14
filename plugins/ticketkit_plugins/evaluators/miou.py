"""Evaluator `miou`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    import torch


class MeanIoU(ticketkit.Evaluator):
    """The mean over classes of intersection over union, of one confusion matrix for all pictures.

    Outputs are (batch, classes, height, width), targets (batch, height, width); pixels of label 255
    are ignored. A class that occurs in neither labels nor predictions has no part in the mean. `n`
    counts pictures, and the interval is a bootstrap over them, as pixels of one picture are no
    independent samples; one picture has none.
    """

    name = "miou"

    def start(self) -> ticketkit.Accumulator:
        return _Counts()


class _Counts:
    """Of each picture and class, how many pixels are both, labelled and predicted so."""

    def __init__(self) -> None:
        self.n = 0
        self.kept: list[tuple[torch.Tensor, ...]] = []

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_dimensions(outputs, 4, "miou")
        ticketkit.check_predictions(outputs, targets, first=self.n, ignored=ticketkit.IGNORED)
        pictures, classes = outputs.shape[:2]
        known = targets != ticketkit.IGNORED
        firsts = classes * known.nonzero()[:, 0]  # where the cells of a pixel's picture begin
        labels, answers = targets[known].long(), outputs.argmax(1)[known]
        right = labels == answers
        cells = (firsts + labels)[right], firsts + labels, firsts + answers
        counts = (each.bincount(minlength=pictures * classes) for each in cells)
        self.n += pictures
        self.kept.append(tuple(each.reshape(pictures, classes).int().cpu() for each in counts))

    def compute(self) -> ticketkit.Figures:
        import numpy as np
        import torch

        found = [torch.cat(parts).double().numpy() for parts in zip(*self.kept, strict=True)]
        if not found or not found[1].any():
            raise ticketkit.EvaluationError("miou: there is no pixel with a class to measure")

        def mean(times: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
            """Of the pictures, each taken so many times."""
            both, labelled, predicted = (times @ each for each in found)
            either = labelled + predicted - both
            occurs = either > 0
            return float((both[occurs] / either[occurs]).mean()) if occurs.any() else value

        value = mean(np.ones(self.n, dtype=np.int64))
        low = high = None
        if self.n > 1:
            low, high = ticketkit.bootstrap(
                lambda chosen: mean(np.bincount(chosen, minlength=self.n)), self.n
            )
        return {"miou": ticketkit.Estimate(value, self.n, low, high, unit="share")}


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield MeanIoU
