"""Evaluator `corruption`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch

    Dataset = torch.utils.data.Dataset[Any]


@dataclass(frozen=True)
class Corruption(ticketkit.Evaluator):
    """How right a network stays under common corruptions: noise, blur, weather, digital artefacts.

    The first figure, `mean`, is over all corruptions and severities; then comes one of each
    corruption, over its severities, and one of each severity, over the corruptions. What is
    measured is `metric`: by default accuracy. Targets stay where they are, also where a corruption
    moves pixels a little. 14 of the 15 common corruptions of Hendrycks and Dietterich (2019, arXiv
    1903.12261) are known: gaussian_noise, shot_noise, impulse_noise; defocus_blur, glass_blur,
    motion_blur, zoom_blur; snow, fog, brightness; contrast, elastic_transform, pixelate,
    jpeg_compression. Frost is left out, as it needs photographs of frost. See `ticketkit.corrupt`
    for what differs from the published pictures; no figure is the authors' mCE, which is relative
    to AlexNet's.

    The pictures are the same for every network, and under every corruption: so errors come
    together, and more corruptions hardly make a mean surer. Its interval is therefore the mean of
    the intervals under each corruption and severity, which no dependence between them makes too
    narrow; there is none where the metric has none. `n` counts pictures.

    It takes corruptions x severities passes over the pictures: 70 by default.
    """

    name = "corruption"
    kinds: tuple[str, ...] = ("all",)
    """The names of corruptions, or `all`."""
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    count: int | None = 500
    """How many pictures are measured, the same ones for every network; none for all."""
    metric: str = "accuracy"
    """What is measured: an evaluator that needs outputs alone, such as `miou` for segmentation, for
    its first figure, or a figure of one: `accuracy.per_class`."""

    def __post_init__(self) -> None:
        if self.count is not None:
            ticketkit.check_whole(self, "count", 1)
        for option in ("kinds", "severities"):
            given = getattr(self, option)
            if not given or len(set(given)) < len(given):
                raise ticketkit.UsageError(
                    f"corruption: {option} are one or more, each once, found {given!r}"
                )
        for kind in self._kinds():
            for severity in self.severities:
                ticketkit.check_corruption(kind, severity)
        ticketkit.metric_of(self.metric)

    def evaluate(
        self, model: torch.nn.Module, data: Dataset, context: ticketkit.EvaluationContext
    ) -> ticketkit.Figures:
        sample = ticketkit.sample_of(data, self.count)
        every = list(itertools.product(self._kinds(), self.severities))
        with context.progress("corrupting", len(sample) * len(every)) as advance:  # type: ignore[arg-type]
            found = {}
            for kind, severity in every:
                corrupted = _corrupted(sample, kind, severity, context)
                outputs = ticketkit.outputs_of(model, corrupted, context.batch)
                try:
                    found[kind, severity] = ticketkit.measured_by(self.metric, outputs, advance)
                except ticketkit.EvaluationError as error:
                    raise ticketkit.EvaluationError(f"{kind} {severity}: {error}") from None
        return self._figures(found)

    def _figures(self, found: dict[tuple[str, int], ticketkit.Estimate]) -> ticketkit.Figures:
        figures = {"mean": _mean(found.values())}
        for kind in self._kinds():
            figures[kind] = _mean(each for (k, _), each in found.items() if k == kind)
        for severity in self.severities:
            alike = (each for (_, s), each in found.items() if s == severity)
            figures[f"severity_{severity}"] = _mean(alike)
        return figures

    def _kinds(self) -> tuple[str, ...]:
        return ticketkit.CORRUPTIONS if tuple(self.kinds) == ("all",) else self.kinds


def _corrupted(
    sample: Dataset, kind: str, severity: int, context: ticketkit.EvaluationContext
) -> Iterator[tuple[torch.Tensor, Any]]:
    """Batches of the pictures under a corruption, which are the same in batches of any size."""
    first = 0
    for pictures, targets in ticketkit.batches_of(sample, context.batch):
        yield ticketkit.corrupt(pictures, kind, severity, seed=context.seed, first=first), targets
        first += len(pictures)


def _mean(estimates: Iterable[ticketkit.Estimate]) -> ticketkit.Estimate:
    """The mean of values, and of the ends of intervals, of the same pictures."""
    every = list(estimates)
    lows = [each.low for each in every if each.low is not None]
    highs = [each.high for each in every if each.high is not None]
    sure = len(lows) == len(highs) == len(every)
    return ticketkit.Estimate(
        fmean(each.value for each in every),
        every[0].n,
        fmean(lows) if sure else None,
        fmean(highs) if sure else None,
        every[0].unit,
        every[0].better,
    )


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield Corruption
