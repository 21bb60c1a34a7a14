"""Scheme `channel`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch_pruning
from torch import nn
from torch.nn.utils import prune
from torchvision.models import resnet18, resnet50

import ticketkit
from tests.plugins import grains
from ticketkit.testing import SchemeLaws
from ticketkit_plugins.schemes.channel import Channel


class TestChannel(SchemeLaws):
    part = Channel()


@pytest.mark.parametrize("name", grains.LAYERS)
@pytest.mark.parametrize("sparsity", [0.3, 0.6])
def test_a_channel_is_all_that_makes_one_output(name: str, sparsity: float) -> None:
    network = grains.layer(name)
    ours = grains.drawn(network, Channel(), sparsity)
    theirs = grains.mask_of(network["layer"], lambda join: join[:1], sparsity)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 8, 3, groups=2, bias=False),
        nn.ConvTranspose2d(6, 8, 3, bias=False),
        nn.ConvTranspose2d(6, 8, 3, groups=2, bias=False),
        nn.ConvTranspose1d(8, 8, 3, groups=8, bias=False),
    ],
)
def test_a_removed_channel_is_an_output_of_zeros(layer: nn.Conv2d) -> None:
    network = nn.ModuleDict({"layer": layer})
    ticketkit.draw(network, scheme=Channel(), sparsity=0.5).mask.apply_(network)
    inputs = torch.rand(1, layer.in_channels, *(5,) * len(layer.kernel_size))
    alive = layer(inputs)[0].flatten(1).any(1)
    assert alive.sum() == 4


@pytest.mark.parametrize("name", ["linear", "conv2d", "conv3d", "grouped", "depthwise"])
@pytest.mark.parametrize("removed", [1, 2, 3])
def test_in_one_layer_it_is_ln_structured_of_torch(name: str, removed: int) -> None:
    network = grains.layer(name)
    layer = network["layer"]
    ours = grains.drawn(network, Channel(), removed / len(grains.weight_of(layer)))
    prune.ln_structured(layer, "weight", amount=removed, n=1, dim=0)  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(ours, dict(layer.named_buffers())["weight_mask"].bool().numpy())


def test_in_one_layer_it_is_the_magnitude_importance_of_torch_pruning() -> None:
    network = grains.layer("conv2d")
    layer = network["layer"]
    ours = grains.drawn(network, Channel(), 0.5)
    graph = torch_pruning.DependencyGraph().build_dependency(
        nn.Sequential(layer), example_inputs=torch.rand(1, 3, 8, 8)
    )
    group = graph.get_pruning_group(
        layer, torch_pruning.prune_conv_out_channels, idxs=list(range(8))
    )
    importance = torch_pruning.importance.MagnitudeImportance(p=1)(group)
    np.testing.assert_array_equal(
        np.flatnonzero(ours.any((1, 2, 3))), importance.topk(4).indices.sort().values.numpy()
    )


def test_the_grains_of_resnets() -> None:
    with torch.device("meta"):
        assert grains.count(Channel(), resnet18()) == 4_800
        assert grains.count(Channel(), resnet50()) == 26_560
