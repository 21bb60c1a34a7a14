"""Evaluator `cost`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Cost(ticketkit.Evaluator):
    """What a network costs: its weights, the work for one picture, and the time that it takes here.

    `nonzeros` of all `parameters`, and `sparsity`, the share of zeros among the prunable weights,
    where there are any. `macs` are the multiplications for one picture of the shape of the data's
    first, `effective_macs` those by weights that are not zero: what a perfect sparse engine would
    do. See `ticketkit.count_macs`. `bytes` is the size of the checkpoint's file, where there is
    one. Zeros as such make neither a file smaller nor a network faster.

    `latency` is the median time, in ms, of `runs` forward passes of `batch` copies of that picture,
    with the distribution-free interval of the median; `latency_iqr` is how far apart the quartiles
    of these times are. They are the only figures that depend on the machine, on its load and on
    torch's threads, and that differ from one measurement to the next. What the network answers is
    not looked at.
    """

    name = "cost"
    batch: int = 1
    """How many pictures a pass that is timed has."""
    runs: int = 30
    """How many passes are timed; an interval of their median needs six."""

    def __post_init__(self) -> None:
        ticketkit.check_whole(self, "batch", 1, 10_000)
        ticketkit.check_whole(self, "runs", 6, 10_000)

    def evaluate(
        self,
        model: torch.nn.Module,
        data: torch.utils.data.Dataset[Any],
        context: ticketkit.EvaluationContext,
    ) -> ticketkit.Figures:
        pictures, _ = next(ticketkit.batches_of(data, 1))
        picture = pictures[:1]
        return {
            **_weights(model),
            **_macs(model, picture),
            **_size(context),
            **self._latency(model, picture, context),
        }

    def _latency(
        self, model: torch.nn.Module, picture: torch.Tensor, context: ticketkit.EvaluationContext
    ) -> ticketkit.Figures:
        import numpy as np

        pictures = picture.repeat(self.batch, *[1] * (picture.dim() - 1))
        with context.progress("timing", self.runs, "runs") as advance:
            seconds = ticketkit.time_forward(model, pictures, self.runs, advance)
        times = [1000 * each for each in seconds]
        lower, median, upper = np.quantile(times, (0.25, 0.5, 0.75)).tolist()
        low, high = ticketkit.median_interval(times)
        return {
            "latency": ticketkit.Estimate(median, self.runs, low, high, "ms", "lower"),
            "latency_iqr": ticketkit.Estimate(upper - lower, self.runs, unit="ms", better="lower"),
        }


def _weights(model: torch.nn.Module) -> ticketkit.Figures:
    weights = ticketkit.count_weights(model)
    figures = {"nonzeros": _count(weights.nonzeros), "parameters": _count(weights.parameters)}
    if weights.sparsity is not None:
        figures["sparsity"] = ticketkit.Estimate(weights.sparsity, 1, unit="share")
    return figures


def _macs(model: torch.nn.Module, picture: torch.Tensor) -> ticketkit.Figures:
    macs = ticketkit.count_macs(model, picture)
    return {"macs": _count(macs.dense), "effective_macs": _count(macs.effective)}


def _size(context: ticketkit.EvaluationContext) -> ticketkit.Figures:
    if context.file is None:
        return {}
    return {"bytes": _count(ticketkit.open_checkpoint(context.file).size, "bytes")}


def _count(value: int, unit: str = "") -> ticketkit.Estimate:
    return ticketkit.Estimate(value, 1, unit=unit, better="lower")


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield Cost
