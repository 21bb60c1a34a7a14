"""Evaluator `ood`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, cast

import ticketkit

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch.utils.data import Dataset

    Scores = np.ndarray[Any, np.dtype[np.float64]]
    Shape = tuple[int, int, int]


@dataclass(frozen=True)
class OutOfDistribution(ticketkit.Evaluator):
    """Does the network know what it was not made for? The area under the ROC curve.

    It is the chance that a picture of the data scores higher than one of another set, equals
    counting a half, by each of two scores, in float64: `msp`, the highest softmax probability
    (Hendrycks and Gimpel 2017, arXiv 1610.02136), and `energy`, the logsumexp of the logits (Liu
    et al. 2020, arXiv 2010.03759).

    Each set in `against` has both, as `SET.msp` and `SET.energy`. A task, by its name without
    options, is its test split; it should be another one than that of the data, or 1/2 is due.
    `noise` is as many pictures as the data has, of normal values of mean 1/2 and deviation 1,
    clipped to [0, 1] (Liang et al. 2018, arXiv 1706.02690). Pictures of a task are brought to the
    shape of the data's first one: bilinear and antialiased, grey repeated in each channel, colours
    averaged to grey. Intervals are DeLong's (1988); there is none for a single picture, nor where
    his variance is 0, as that of scores which overlap nowhere.
    """

    name = "ood"
    against: tuple[str, ...] = ("noise",)

    def __post_init__(self) -> None:
        if not self.against or len(set(self.against)) < len(self.against):
            found = "+".join(self.against) or "none"
            raise ticketkit.UsageError(f"ood: against is one set or more, each once, found {found}")
        self._tasks()

    def start(self) -> Any:
        """The scores of the data, which mean nothing without those of another set."""
        return _Scores()

    def evaluate(
        self, model: torch.nn.Module, data: Dataset[Any], context: ticketkit.EvaluationContext
    ) -> ticketkit.Figures:
        figures, inside = {}, context.gathered
        for name, pictures in list(self._sets(_shape(data), context)):
            outside = _Scores()
            with context.progress(name, len(pictures)) as advance:
                for outputs, targets in ticketkit.outputs_of(model, pictures, context.batch):
                    outside.update(outputs, targets)
                    advance(len(outputs))
            figures[f"{name}.msp"] = _auroc(inside.msp, outside.msp)
            figures[f"{name}.energy"] = _auroc(inside.energy, outside.energy)
        return figures

    def _tasks(self) -> dict[str, ticketkit.Task]:
        """The tasks among the sets; an error for a name that is none."""
        names = [name for name in self.against if name != "noise"]
        return {name: cast("ticketkit.Task", ticketkit.resolve("task", name)) for name in names}

    def _sets(self, shape: Shape, context: ticketkit.EvaluationContext) -> Iterator[Any]:
        """Each set's name, and its pictures in this shape as a data set."""
        from torch.utils.data import Subset

        tasks = self._tasks()
        for name in self.against:
            if name in tasks:
                test: Any = ticketkit.data_of(tasks[name], context.root).test
                yield name, Subset(cast("Any", _Fitted(name, test, shape)), range(len(test)))
            else:
                noise: Any = _Noise(shape, context)
                yield name, Subset(noise, range(context.gathered.n))


class _Scores:
    """The scores of all samples so far."""

    def __init__(self) -> None:
        self.n = 0
        self.msp: list[torch.Tensor] = []
        self.energy: list[torch.Tensor] = []

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_predictions(outputs, targets, first=self.n)
        if outputs.dim() != 2:
            raise ticketkit.EvaluationError(
                f"ood takes outputs (batch, classes), found {tuple(outputs.shape)}"
            )
        logits = outputs.double()
        highest, predicted = logits.max(1, keepdim=True)
        others = logits.scatter(1, predicted, -float("inf")).logsumexp(1)
        self.n += len(outputs)
        # The logarithm of the odds ranks as the probability does, and is no tie where that is so
        # near 1 that float64 rounds it.
        self.msp.append(highest[:, 0] - others)
        self.energy.append(logits.logsumexp(1))


class _Noise:
    """Pictures of noise by their places, each the same whatever batch it is in."""

    def __init__(self, shape: Shape, context: ticketkit.EvaluationContext) -> None:
        self.shape, self.context = shape, context

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        import torch

        normal = torch.randn(self.shape, generator=self.context.generator("noise", index))
        return (normal + 0.5).clamp(0, 1), 0


class _Fitted:
    """The pictures of a data set in another shape, their targets 0."""

    def __init__(self, name: str, data: Any, shape: Shape) -> None:
        self.name, self.data, self.shape = name, data, shape

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from torch.nn.functional import interpolate

        picture, size = self.data[index][0], self.shape[1:]
        whole = picture.float() / (1 if picture.is_floating_point() else 255)
        if whole.shape[1:] != size:
            whole = interpolate(whole[None], size, mode="bilinear", antialias=True)[0]
        return self._coloured(whole), 0

    def _coloured(self, picture: torch.Tensor) -> torch.Tensor:
        channels = self.shape[0]
        if channels == 1:
            return picture.mean(0, keepdim=True)
        if len(picture) not in (1, channels):
            raise ticketkit.EvaluationError(
                f"ood: pictures of {self.name} have {len(picture)} channels, the data's {channels}"
            )
        return picture.expand(channels, -1, -1)


def _shape(data: Any) -> Shape:
    """The shape of the data's first picture."""
    inputs, _ = next(ticketkit.batches_of(data, 1))
    if inputs.dim() != 4:
        raise ticketkit.EvaluationError(
            f"ood takes pictures (channels, height, width), found {tuple(inputs.shape[1:])}"
        )
    channels, height, width = inputs.shape[1:]
    return channels, height, width


def _auroc(inside: list[torch.Tensor], outside: list[torch.Tensor]) -> ticketkit.Estimate:
    """From each score's placement: the share of the other kind that it is on the right side of."""
    import numpy as np
    import torch
    from scipy.stats import rankdata

    if not inside or not outside:
        raise ticketkit.EvaluationError("ood needs in- and out-of-distribution samples")
    high, low = (torch.cat(scores).cpu().numpy() for scores in (inside, outside))
    ranks = rankdata(np.concatenate([high, low]))
    above = (ranks[: len(high)] - rankdata(high)) / len(low)
    below = 1 - (ranks[len(high) :] - rankdata(low)) / len(high)
    value, n = float(above.mean()), len(ranks)
    if len(high) == 1 or len(low) == 1 or np.ptp(above) == np.ptp(below) == 0:
        return ticketkit.Estimate(value, n, unit="share")
    variance = above.var(ddof=1) / len(high) + below.var(ddof=1) / len(low)
    half = NormalDist().inv_cdf(0.975) * float(np.sqrt(variance))
    return ticketkit.Estimate(value, n, max(0.0, value - half), min(1.0, value + half), "share")


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield OutOfDistribution
