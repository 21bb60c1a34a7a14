"""Evaluator `ood`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import ticketkit

if TYPE_CHECKING:
    import torch

    Dataset = torch.utils.data.Dataset[Any]
    Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]

_NOISE = "noise"


@dataclass(frozen=True)
class OutOfDistribution(ticketkit.Evaluator):
    """How well a network tells its own task's pictures from others: the area under the ROC curve.

    Its own pictures are the positives, and two scores tell: `msp`, the highest probability
    (Hendrycks and Gimpel 2017, arXiv 1610.02136), and `energy`, the logarithm of the sum of
    exp(logits) (Liu et al. 2020, arXiv 2010.03759), both in float64. Ties count 1/2; the interval
    is Newcombe's. A figure of each score for each set: `svhn.msp`, `svhn.energy`; its n counts the
    pictures of both.

    `against` names tasks, whose test pictures are taken, with their usual options, and `noise`:
    values drawn from a Gaussian of mean 1/2 and deviation 1, clipped to [0, 1] (Liang et al. 2018,
    arXiv 1706.02690), as many pictures as the task has. Pictures are brought to the shape of the
    task's first one: resized, bilinear and antialiased, grey repeated, colours averaged.
    """

    name = "ood"
    against: tuple[str, ...] = (_NOISE,)

    def __post_init__(self) -> None:
        if not self.against or len(set(self.against)) < len(self.against):
            found = "+".join(self.against) or "none"
            raise ticketkit.UsageError(
                f"ood: against names one set or more, each once, such as svhn+noise; found {found}"
            )
        for name in self.other_tasks:
            ticketkit.resolve("task", name)

    @property
    def other_tasks(self) -> tuple[str, ...]:
        return tuple(name for name in self.against if name != _NOISE)

    def start(self) -> ticketkit.Accumulator:
        return _Scores()

    def evaluate(
        self, model: torch.nn.Module, data: Dataset, context: ticketkit.EvaluationContext
    ) -> ticketkit.Figures:
        own = context.gathered
        inputs, _ = next(iter(ticketkit.batches_of(data, 1)))
        shape = tuple(inputs.shape[1:])
        if len(shape) != 3:
            raise ticketkit.EvaluationError(
                f"ood takes pictures (channels, height, width), found {shape}"
            )
        figures: dict[str, ticketkit.Estimate] = {}
        # Of all sets first: one whose data is missing costs no pass over another.
        others = {name: _others(name, shape, own.n, context) for name in self.against}
        for name, (count, batches) in others.items():
            scores = _Scores()
            with context.progress(f"ood {name}", count) as advance:
                for outputs, _ in ticketkit.outputs_of(model, batches, context.batch):
                    scores.add(outputs)
                    advance(len(outputs))
            for kind in ("msp", "energy"):
                figures[f"{name}.{kind}"] = _area(own.of(kind), scores.of(kind))
        return figures


class _Scores:
    """The scores of each picture so far."""

    def __init__(self) -> None:
        self.n = 0
        self.kept: dict[str, list[torch.Tensor]] = {"msp": [], "energy": []}

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        ticketkit.check_predictions(outputs, targets, first=self.n)
        self.add(outputs)

    def add(self, outputs: torch.Tensor) -> None:
        """Take in pictures without classes."""
        ticketkit.check_dimensions(outputs, 2, "ood")
        ticketkit.check_finite(outputs, first=self.n)
        logits = outputs.cpu().double()  # some devices have no float64
        highest, answers = logits.max(1, keepdim=True)
        others = logits.scatter(1, answers, -float("inf")).logsumexp(1)
        self.n += len(outputs)
        # The logarithm of its odds ranks as a probability does, and is no tie where that is so
        # near 1 that float64 rounds it.
        self.kept["msp"].append(highest[:, 0] - others)
        self.kept["energy"].append(logits.logsumexp(1))

    def of(self, kind: str) -> torch.Tensor:
        """The scores of this kind."""
        import torch

        if not self.n:
            raise ticketkit.EvaluationError("ood needs in- and out-of-distribution samples")
        return torch.cat(self.kept[kind])

    def compute(self) -> ticketkit.Figures:
        """Nobody asks: the figures need other pictures too."""
        raise NotImplementedError


def _others(
    name: str, shape: tuple[int, ...], count: int, context: ticketkit.EvaluationContext
) -> tuple[int, Batches]:
    """How many pictures a set has, and batches of them in this shape."""
    if name == _NOISE:
        return count, _noise(shape, count, context)
    task = cast("ticketkit.Task", ticketkit.resolve("task", name))
    test = ticketkit.data_of(task, context.root).test
    return len(test), _reshaped(ticketkit.batches_of(test, context.batch), shape)  # type: ignore[arg-type]


def _noise(shape: tuple[int, ...], count: int, context: ticketkit.EvaluationContext) -> Batches:
    import torch

    for first in range(0, count, context.batch):
        indices = range(first, min(first + context.batch, count))
        # A generator a picture, so that batches of another size hold the same ones.
        drawn = [torch.randn(shape, generator=context.generator(_NOISE, i)) for i in indices]
        yield (torch.stack(drawn) + 0.5).clamp(0, 1), torch.zeros(len(drawn), dtype=torch.long)


def _reshaped(batches: Any, shape: tuple[int, ...]) -> Batches:
    from torch.nn.functional import interpolate

    channels, *size = shape
    for inputs, targets in batches:
        pictures = ticketkit.pixels(inputs).float()
        if pictures.shape[1] != channels:
            pictures = pictures.mean(1, keepdim=True).repeat(1, channels, 1, 1)
        if list(pictures.shape[2:]) != size:
            pictures = interpolate(pictures, size, mode="bilinear", antialias=True).clamp(0, 1)
        yield pictures, targets.flatten(1)[:, 0] if targets.dim() > 1 else targets


def _area(inside: torch.Tensor, outside: torch.Tensor) -> ticketkit.Estimate:
    """The share of pairs in which the own picture has the higher score (Mann and Whitney 1947)."""
    from scipy.stats import rankdata

    ranks = rankdata([*inside.tolist(), *outside.tolist()])
    n, m = len(inside), len(outside)
    area = (ranks[:n].sum() - n * (n + 1) / 2) / (n * m)
    low, high = ticketkit.auc_interval(area, n, m)
    return ticketkit.Estimate(float(area), n + m, low, high, unit="share")


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield OutOfDistribution
