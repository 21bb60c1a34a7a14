"""Evaluator `certified`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch

    Dataset = torch.utils.data.Dataset[Any]


@dataclass(frozen=True)
class Certified(ticketkit.Evaluator):
    """How far from pictures a smoothed network's right answers hold, for certain (l2).

    Randomized smoothing (Cohen et al. 2019, arXiv 1902.02918): the network answers under normal
    noise of deviation `sigma` on pixels in [0, 1]. `n0` samples guess the class of a picture and
    `n` others certify it, wrongly with probability `alpha` at most; see `ticketkit.Smoothed`.

    `acr`, the average certified radius (Zhai et al. 2020), is the mean over pictures of the radius
    where the answer is right, else 0; its interval is a bootstrap's, and there is none where all
    radii are one. `certified-0.25`, for each of `radii`, is the share of pictures with right
    answers and a radius of at least 0.25; `accuracy` that with right answers, whatever the radius,
    and `abstained` that without an answer. These have Wilson's interval. No radius is beyond
    sigma Phi^-1(alpha^(1/n)), here 0.80, whatever the network: larger ones of `radii` are left out,
    with a warning.

    Of the pictures `count` are certified, the same ones for every network; `count=none` certifies
    all. A picture costs n0 + n forward passes, so 200 of them two million. The paper takes 500 with
    n=100000.
    """

    name = "certified"
    sigma: float = 0.25
    n0: int = 100
    n: int = 10_000
    alpha: float = 0.001
    radii: tuple[float, ...] = (0.25, 0.5, 0.75)
    count: int | None = 200

    def __post_init__(self) -> None:
        for radius in (0.0, *self.radii):
            ticketkit.check_smoothing(
                sigma=self.sigma, alpha=self.alpha, radius=radius, n0=self.n0, n=self.n
            )
        if len({f"{radius:g}" for radius in self.radii}) < len(self.radii):
            raise ticketkit.UsageError(f"certified: radii differ, found {list(self.radii)}")
        if self.count is not None:
            ticketkit.check_whole(self, "count", 1)

    def evaluate(
        self, model: torch.nn.Module, data: Dataset, context: ticketkit.EvaluationContext
    ) -> ticketkit.Figures:
        sample = ticketkit.sample_of(data, self.count)
        _check(model, sample, context.batch)
        found = list(self._certified(model, sample, context))
        right = [made.prediction == target for made, target in found]
        radii = [made.radius if ok else 0.0 for (made, _), ok in zip(found, right, strict=True)]
        figures = {"acr": _mean(radii, context.seed)}
        for radius in self._reachable():
            reached = sum(ok and r >= radius for ok, r in zip(right, radii, strict=True))
            figures[f"certified-{radius:g}"] = ticketkit.Estimate.share(reached, len(found))
        figures["accuracy"] = ticketkit.Estimate.share(sum(right), len(found))
        abstained = sum(made.prediction is ticketkit.ABSTAIN for made, _ in found)
        figures["abstained"] = ticketkit.Estimate.share(abstained, len(found), better="lower")
        return figures

    def _reachable(self) -> list[float]:
        """Those of the radii that all votes together would certify."""
        most = ticketkit.certified_radius(self.n, self.n, sigma=self.sigma, alpha=self.alpha)
        if beyond := [f"{radius:g}" for radius in self.radii if radius > most]:
            warnings.warn(
                f"no figure of radius {', '.join(beyond)}: n={self.n} samples of sigma="
                f"{self.sigma:g} certify {most:.3f} at most, whatever the network",
                stacklevel=3,
            )
        return [radius for radius in self.radii if radius <= most]

    def _certified(
        self, model: torch.nn.Module, sample: Dataset, context: ticketkit.EvaluationContext
    ) -> Iterator[tuple[ticketkit.Certificate, int]]:
        """The certificate and the class of each picture."""
        smoothed = ticketkit.Smoothed(model, self.sigma, seed=context.seed, batch=context.batch)
        numbers = {"n0": self.n0, "n": self.n}
        with context.progress("certifying", len(sample)) as advance:  # type: ignore[arg-type]
            for index, (inputs, targets) in enumerate(ticketkit.batches_of(sample, 1)):
                made = smoothed.certify(inputs[0], index=index, alpha=self.alpha, **numbers)
                yield made, int(targets[0])
                advance(1)


def _check(model: torch.nn.Module, sample: Dataset, batch: int) -> None:
    """Refuse labels and outputs without meaning before the work, which may take hours."""
    first = 0
    for outputs, targets in ticketkit.outputs_of(model, sample, batch):
        ticketkit.check_dimensions(outputs, 2, "certified")
        ticketkit.check_predictions(outputs, targets, first=first)
        first += len(outputs)


def _mean(radii: list[float], seed: int) -> ticketkit.Estimate:
    import numpy as np

    values = np.array(radii)
    low = high = None
    if len(set(radii)) > 1:  # or all samples of them are the same, which is no certainty
        low, high = ticketkit.bootstrap(lambda drawn: values[drawn].mean(), len(values), seed=seed)
    return ticketkit.Estimate(float(values.mean()), len(values), low, high, unit="l2")


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield Certified
