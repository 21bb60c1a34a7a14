"""Group F: what a network is worth, measured in one pass, against that pass by itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

import ticketkit
from tests.benchmarks.measure import Result, in_turn, timed
from tests.benchmarks.networks import Scale, build

_BATCHES = 32


class Energy(ticketkit.Evaluator):
    """The mean score of `ood`, without the other pictures that it compares with."""

    name = "energy"

    def start(self) -> ticketkit.Accumulator:
        return _Energies()


EVALUATORS = ("accuracy", "calibration", Energy())


def outputs_rows(scale: Scale) -> Iterator[Result]:
    """F2: all figures that outputs alone tell, against a bare forward pass over the data."""
    network, (batch, *shape) = build(scale.trained).eval(), scale.batch
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(_BATCHES * batch, *shape, generator=generator)
    data = TensorDataset(images, torch.randint(10, (len(images),), generator=generator))
    few = ticketkit.evaluate(network, TensorDataset(*data[:batch]), EVALUATORS)
    count = sum(map(len, few.values()))
    bare = partial(_pass, network, data, batch)
    figures = partial(ticketkit.evaluate, network, data, EVALUATORS, batch=batch)
    floor, ours = in_turn(min(3, scale.runs), bare, figures)
    what = f"{count} figures of {len(images)} pictures, {scale.trained}; floor: a pass"
    yield timed("F2", what, ours, floor, 1.05)


def _pass(network: nn.Module, data: TensorDataset, batch: int) -> None:
    with torch.no_grad():
        for inputs, _ in ticketkit.batches_of(data, batch):
            network(inputs)


class _Energies:
    """What `ood` gathers, and its mean."""

    def __init__(self) -> None:
        part: Any = ticketkit.resolve("evaluator", "ood")
        self._scores = part.start()

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        self._scores.update(outputs, targets)

    def compute(self) -> ticketkit.Figures:
        energies = self._scores.of("energy")
        return {"energy": ticketkit.Estimate(energies.mean().item(), len(energies))}
