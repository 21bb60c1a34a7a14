"""Evaluator `calibration`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Calibration(ticketkit.Evaluator):
    """Are probabilities what they say? The expected calibration error and the log-likelihood.

    Outputs are logits, (batch, classes), targets (batch,); probabilities are their softmax, in
    float64. `ece` (Guo et al. 2017, arXiv 1706.04599) sorts samples by the probability of the
    class that is predicted into `bins` of equal width, (low, high], and is the mean over samples
    of the distance, in their bin, between the share that is right and the mean probability.
    `nll` is the mean of -log p of a sample's class, the natural logarithm, with Student's t
    interval.

    Noise in the bins makes an `ece` too large, and once more in a bootstrap, so its interval is
    the reflected one (Davison and Hinkley 1997, 5.2): 2 ece - q for each quantile q, no less than
    0, and with the ece in it. Of a network that is all but calibrated it covers the truth less
    often than 95 times in 100.
    """

    name = "calibration"
    bins: int = 15

    def __post_init__(self) -> None:
        ticketkit.check_whole(self, "bins", 1)

    def start(self) -> ticketkit.Accumulator:
        return _Probabilities(self.bins)


class _Probabilities:
    """Of each batch so far: how sure each prediction was, whether it was right, and its -log p."""

    def __init__(self, bins: int) -> None:
        self.bins, self.n = bins, 0
        self.batches: list[tuple[torch.Tensor, ...]] = []

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_predictions(outputs, targets, first=self.n)
        if outputs.dim() != 2:
            raise ticketkit.EvaluationError(
                f"calibration takes outputs (batch, classes), found {tuple(outputs.shape)}"
            )
        logits = outputs.double()
        losses = -logits.log_softmax(1).gather(1, targets.long()[:, None])[:, 0]
        self.n += len(outputs)
        self.batches.append((logits.softmax(1).amax(1), outputs.argmax(1) == targets, losses))

    def compute(self) -> ticketkit.Figures:
        import torch

        if not self.n:
            raise ticketkit.EvaluationError("calibration: there is no sample to measure")
        sure, right, losses = (torch.cat(part).cpu() for part in zip(*self.batches, strict=True))
        return {"ece": self._ece(sure, right), "nll": _mean(losses)}

    def _ece(self, sure: torch.Tensor, right: torch.Tensor) -> ticketkit.Estimate:
        import numpy as np
        import torch

        ends = torch.arange(1, self.bins + 1, dtype=torch.float64) / self.bins
        bins = torch.bucketize(sure, ends).numpy()
        excess = (right.double() - sure).numpy()

        def ece(chosen: Any) -> float:
            sums = np.bincount(bins[chosen], excess[chosen], self.bins)
            return float(np.abs(sums).sum() / self.n)

        value = ece(slice(None))
        low, high = ticketkit.bootstrap(ece, self.n)
        low, high = min(value, max(0.0, 2 * value - high)), max(value, 2 * value - low)
        return ticketkit.Estimate(value, self.n, low, high, "share", "lower")


def _mean(losses: torch.Tensor) -> ticketkit.Estimate:
    value, n = losses.mean().item(), len(losses)
    low, high = ticketkit.mean_interval(losses.tolist()) if n > 1 else (None, None)
    return ticketkit.Estimate(value, n, low, high, "nats", "lower")


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield Calibration
