"""Allocation `uniform`."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import ticketkit
from ticketkit.testing import AllocationLaws
from ticketkit_plugins.allocations.uniform import Uniform


class TestUniform(AllocationLaws):
    part = Uniform()


def _network() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"a": nn.Conv2d(3, 5, 3), "b": nn.Linear(7, 9), "c": nn.Linear(5, 1)})


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.7])
def test_each_layer_is_l1_unstructured_of_torch(sparsity: float) -> None:
    network = _network()
    mask = ticketkit.draw(
        network, scheme="unstructured", sparsity=sparsity, allocation=Uniform()
    ).mask
    for name, layer in network.items():
        prune.l1_unstructured(layer, "weight", amount=sparsity)  # type: ignore[no-untyped-call]
        theirs = dict(layer.named_buffers())["weight_mask"].bool()
        assert torch.equal(mask[f"{name}.weight"], theirs)


def test_channels_of_each_layer_are_ln_structured_of_torch() -> None:
    torch.manual_seed(1)
    network = nn.ModuleDict({"a": nn.Conv2d(3, 8, 3), "b": nn.Linear(7, 4)})
    mask = ticketkit.draw(network, scheme="channel", sparsity=0.5, allocation=Uniform()).mask
    for name, layer in network.items():
        prune.ln_structured(layer, "weight", amount=0.5, n=1, dim=0)  # type: ignore[no-untyped-call]
        theirs = dict(layer.named_buffers())["weight_mask"].bool()
        assert torch.equal(mask[f"{name}.weight"], theirs)


def test_a_layer_whose_share_is_nothing_dies_only_where_that_is_allowed() -> None:
    network = nn.ModuleDict({"a": nn.Linear(9, 9), "one": nn.Linear(1, 1)})
    options = {"scheme": "unstructured", "sparsity": 0.9, "allocation": "uniform"}
    with pytest.raises(ticketkit.UnreachableSparsity, match=r"one\.weight.*allow-empty-layers"):
        ticketkit.draw(network, **options)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match=r"1 layers keep nothing: one\.weight"):
        ticket = ticketkit.draw(network, **options, allow_empty_layers=True)  # type: ignore[arg-type]
    assert int(ticket.mask["a.weight"].sum()) == 81 - round(0.9 * 81)
