"""Scheme `row`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models import resnet18, resnet50

from tests.plugins import grains
from ticketkit.testing import SchemeLaws
from ticketkit_plugins.schemes.row import Row


class TestRow(SchemeLaws):
    part = Row()


@pytest.mark.parametrize("name", grains.LAYERS)
@pytest.mark.parametrize("sparsity", [0.3, 0.6])
def test_a_row_is_one_row_of_one_kernel(name: str, sparsity: float) -> None:
    network = grains.layer(name)
    ours = grains.drawn(network, Row(), sparsity)

    def grain(join: grains.Key) -> grains.Key:
        return join if len(join) == 2 else join[:-1]

    np.testing.assert_array_equal(ours, grains.mask_of(network["layer"], grain, sparsity))


def test_a_row_of_a_small_kernel() -> None:
    network = torch.nn.ModuleDict({"layer": torch.nn.Conv2d(1, 1, (2, 3))})
    grains.weight_of(network["layer"]).copy_(torch.tensor([[[[1.0, 1, 1], [0, 9, 0]]]]))
    # The second row has the larger mean, though the first has more weights that are not zero.
    assert grains.drawn(network, Row(), 0.5).tolist() == [[[[False] * 3, [True] * 3]]]


def test_the_grains_of_resnets() -> None:
    with torch.device("meta"):
        assert grains.count(Row(), resnet18()) == 3_835_200
        assert grains.count(Row(), resnet50()) == 15_902_016
