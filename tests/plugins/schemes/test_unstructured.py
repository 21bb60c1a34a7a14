"""Scheme `unstructured`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torchvision.models import resnet18, resnet50

import ticketkit
from tests.plugins import grains
from ticketkit.prunable import survey
from ticketkit.roles import of_network
from ticketkit.testing import SchemeLaws
from ticketkit_plugins.schemes.unstructured import Unstructured


class TestUnstructured(SchemeLaws):
    part = Unstructured()

    def test_it_meets_the_budget_exactly(self) -> None:
        for where, _, ticket in self._draws():
            size, sparsity = ticket.mask.size, ticket.provenance.sparsity
            assert ticket.mask.kept == size - round(sparsity * size), where


@pytest.mark.parametrize("name", grains.LAYERS)
@pytest.mark.parametrize("sparsity", [0.3, 0.6])
def test_each_weight_stands_for_itself(name: str, sparsity: float) -> None:
    network = grains.layer(name)
    ours = grains.drawn(network, Unstructured(), sparsity)
    theirs = grains.mask_of(network["layer"], lambda join: join, sparsity)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.97])
def test_it_is_global_unstructured_of_torch(sparsity: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 8, 1), nn.Flatten(), nn.Linear(8, 6)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers that keep nothing
        ticket = ticketkit.draw(
            network, scheme=Unstructured(), sparsity=sparsity, allow_empty_layers=True
        )
    layers = {name: network[int(name[0])] for name in ticket.mask}
    assert list(layers) == ["0.weight", "2.weight", "4.weight"]
    prune.global_unstructured(
        [(layer, "weight") for layer in layers.values()], prune.L1Unstructured, amount=sparsity
    )
    for name, layer in layers.items():
        theirs = dict(layer.named_buffers())["weight_mask"].bool()
        assert torch.equal(ticket.mask[name], theirs)


@pytest.mark.parametrize(("size", "sparsity", "removed"), [(5, 0.5, 2), (10, 0.25, 2), (7, 0.5, 4)])
def test_it_counts_as_torch_does(size: int, sparsity: float, removed: int) -> None:
    network = nn.ModuleDict({"layer": nn.Linear(size, 1)})
    assert (~grains.drawn(network, Unstructured(), sparsity)).sum() == removed
    prune.l1_unstructured(network["layer"], "weight", amount=sparsity)  # type: ignore[no-untyped-call]
    assert (dict(network["layer"].named_buffers())["weight_mask"] == 0).sum() == removed


def test_what_a_resnet18_is_counted_over() -> None:
    ticket = ticketkit.draw(resnet18(), scheme=Unstructured(), sparsity=0.9)
    assert ticket.counts.prunable == ticket.mask.size == 11_166_912
    assert ticket.counts.weights == 11_166_912 + 512_000
    assert ticket.counts.parameters == 11_689_512
    assert ticket.removed == 10_050_221
    assert "fc.weight" not in ticket.mask


def test_what_resnets_lose_without_their_first_layer_or_their_shortcuts() -> None:
    with torch.device("meta"):
        eighteen, fifty = resnet18(), resnet50()
    assert survey(of_network(eighteen), exclude=["conv1.weight"]).counts.prunable == 11_157_504
    rest = survey(of_network(eighteen), exclude=["*downsample*"]).counts.prunable
    assert rest == 11_166_912 - 172_032
    assert survey(of_network(fifty)).counts.prunable == 23_454_912
    rest = survey(of_network(fifty), exclude=["*downsample*"]).counts.prunable
    assert rest == 23_454_912 - 2_768_896
    assert survey(of_network(fifty)).counts.parameters == 25_557_032
