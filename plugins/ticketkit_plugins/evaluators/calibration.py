"""Evaluator `calibration`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Calibration(ticketkit.Evaluator):
    """How far probabilities can be trusted: expected calibration error and log-likelihood.

    Outputs are logits (batch, classes), targets (batch,); probabilities are their softmax, in
    float64. `ece` is the mean over samples of |accuracy - confidence| in `bins` bins of equal
    width, (lower, upper], of the highest probability (Guo et al. 2017, arXiv 1706.04599). Noise in
    the bins makes it too large, and once more in a bootstrap: the upper end of its interval is the
    bootstrap's, and the lower one is as far below. Of a network that is perfectly calibrated, whose
    error is 0, it holds that less than 95 times in 100.

    `nll` is the mean of -log p of the true class, in nats, from logits: it is finite where p is 0
    in floating point. Its interval is Student's.
    """

    name = "calibration"
    bins: int = 15

    def __post_init__(self) -> None:
        ticketkit.check_whole(self, "bins", 1, 10_000)

    def start(self) -> ticketkit.Accumulator:
        return _Samples(self.bins)


class _Samples:
    """Of each sample its bin, how far its answer is above its confidence, and its loss."""

    def __init__(self, bins: int) -> None:
        self.bins, self.n = bins, 0
        self.kept: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_dimensions(outputs, 2, "calibration")
        ticketkit.check_predictions(outputs, targets, first=self.n)
        logits, targets = outputs.cpu().double(), targets.cpu()  # some devices have no float64
        logs = logits.log_softmax(1)
        confidence, answers = logs.exp().max(1)
        bins = (confidence * self.bins).ceil().long().clamp(1, self.bins) - 1
        gaps = (answers == targets).double() - confidence
        losses = -logs.gather(1, targets.long()[:, None])[:, 0]
        self.n += len(outputs)
        self.kept.append((bins, gaps, losses))

    def compute(self) -> ticketkit.Figures:
        import numpy as np
        import torch

        if not self.n:
            raise ticketkit.EvaluationError("calibration: there is no sample to measure")
        bins, gaps, losses = (torch.cat(parts).numpy() for parts in zip(*self.kept, strict=True))

        def error(chosen: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
            sums = np.bincount(bins[chosen], gaps[chosen], self.bins)
            return float(np.abs(sums).sum() / len(chosen))

        ece = error(np.arange(self.n))
        nll = losses.mean().item()
        low = high = least = most = None
        if self.n > 1:  # one sample tells nothing of how samples differ
            half = max(0.0, ticketkit.bootstrap(error, self.n)[1] - ece)
            low, high = max(0.0, ece - half), min(1.0, ece + half)
            least, most = ticketkit.mean_interval(losses.tolist())
        return {
            "ece": ticketkit.Estimate(ece, self.n, low, high, unit="share", better="lower"),
            "nll": ticketkit.Estimate(nll, self.n, least, most, unit="nats", better="lower"),
        }


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield Calibration
