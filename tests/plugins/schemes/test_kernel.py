"""Scheme `kernel`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models import resnet18, resnet50

import ticketkit
from tests.plugins import grains
from ticketkit.testing import SchemeLaws
from ticketkit_plugins.schemes.kernel import Kernel
from ticketkit_plugins.schemes.unstructured import Unstructured


class TestKernel(SchemeLaws):
    part = Kernel()


@pytest.mark.parametrize("name", grains.LAYERS)
@pytest.mark.parametrize("sparsity", [0.3, 0.6])
def test_a_kernel_joins_one_output_to_one_input_channel(name: str, sparsity: float) -> None:
    network = grains.layer(name)
    ours = grains.drawn(network, Kernel(), sparsity)
    theirs = grains.mask_of(network["layer"], lambda join: join[:2], sparsity)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", [torch.nn.Conv2d, torch.nn.ConvTranspose2d])
def test_an_output_channel_does_not_see_the_inputs_whose_kernels_are_gone(
    kind: type[torch.nn.Conv2d],
) -> None:
    torch.manual_seed(0)
    network = torch.nn.ModuleDict({"layer": kind(6, 9, 3, groups=3, bias=False)})
    mask = ticketkit.draw(network, scheme=Kernel(), sparsity=0.5).mask
    mask.apply_(network)
    inputs = torch.rand(1, 6, 5, 5, requires_grad=True)
    outputs = network["layer"](inputs)
    seen = sum(
        int(
            (torch.autograd.grad(channel.sum(), inputs, retain_graph=True)[0] != 0)
            .any((0, 2, 3))
            .sum()
        )
        for channel in outputs[0]
    )
    assert seen == mask.kept // 9 == 9


@pytest.mark.parametrize("name", ["pointwise", "linear"])
def test_without_a_kernel_it_is_a_single_weight(name: str) -> None:
    network = grains.layer(name)
    ours = grains.drawn(network, Kernel(), 0.5)
    np.testing.assert_array_equal(ours, grains.drawn(network, Unstructured(), 0.5))


def test_the_grains_of_resnets() -> None:
    with torch.device("meta"):
        assert grains.count(Kernel(), resnet18()) == 1_392_832
        assert grains.count(Kernel(), resnet50()) == 13_385_920
