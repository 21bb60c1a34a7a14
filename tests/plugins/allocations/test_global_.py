"""Allocation `global`."""

from __future__ import annotations

import torch
from torch import nn

import ticketkit
from tests.plugins.grains import weight_of
from ticketkit.testing import AllocationLaws
from ticketkit_plugins.allocations.global_ import Global


class TestGlobal(AllocationLaws):
    part = Global()


def test_one_ranking_takes_most_from_the_layer_of_small_weights() -> None:
    network = nn.ModuleDict({"large": nn.Linear(10, 10), "small": nn.Linear(10, 10)})
    weight_of(network["large"]).copy_(torch.arange(100.0).reshape(10, 10) + 101)
    weight_of(network["small"]).copy_(torch.arange(100.0).reshape(10, 10) + 1)
    ticket = ticketkit.draw(network, scheme="unstructured", sparsity=0.25, allocation=Global())
    assert _kept(ticket) == {"large.weight": 100, "small.weight": 50}
    deeper = ticketkit.draw(network, scheme="unstructured", sparsity=0.5, allocation=Global())
    assert _kept(deeper) == {"large.weight": 99, "small.weight": 1}


def _kept(ticket: ticketkit.Ticket) -> dict[str, int]:
    return {name: int(keep.sum()) for name, keep in ticket.mask.items()}


def test_it_is_the_default() -> None:
    network = nn.ModuleDict({"layer": nn.Linear(4, 4)})
    ticket = ticketkit.draw(network, scheme="unstructured", sparsity=0.5)
    assert ticket.provenance.allocation == "global"
