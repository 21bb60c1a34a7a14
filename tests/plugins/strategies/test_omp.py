"""Strategy `omp`."""

from __future__ import annotations

from typing import Any

from torch import nn

import ticketkit
from ticketkit_plugins.strategies.omp import Omp


class _Job:
    """A job that writes down what it was asked for."""

    sparsity = 0.8

    def __init__(self) -> None:
        self.asked: list[float] = []

    def select(self, sparsity: float) -> ticketkit.Mask:
        self.asked.append(sparsity)
        return ticketkit.Mask({"w": [True, False]})


def test_it_selects_once_at_the_sparsity_asked_for() -> None:
    job: Any = _Job()
    rounds = list(Omp().rounds(job))
    assert [round_.mask for round_ in rounds] == [ticketkit.Mask({"w": [True, False]})]
    assert job.asked == [0.8]


def test_it_is_the_default() -> None:
    network = nn.ModuleDict({"layer": nn.Linear(4, 4)})
    default = ticketkit.draw(network, scheme="row", sparsity=0.5)
    assert default.provenance.strategy == "omp"
    assert default == ticketkit.draw(network, scheme="row", sparsity=0.5, strategy=Omp())
