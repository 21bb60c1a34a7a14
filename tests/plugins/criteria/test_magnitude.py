"""Criterion `magnitude`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ticketkit
from tests.plugins.grains import weight_of
from ticketkit.testing import CriterionLaws
from ticketkit_plugins.criteria.magnitude import Magnitude


class TestMagnitude(CriterionLaws):
    part = Magnitude()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_absolute_value(dtype: torch.dtype) -> None:
    weight = torch.tensor([0.0, -0.0, 1e-42, -3.5, 2.25, -1e38], dtype=dtype)
    scores = Magnitude().score(weight, ticketkit.Context("w", seed=0))
    np.testing.assert_array_equal(scores.numpy(), np.abs(weight.numpy()))
    assert scores.dtype == dtype


def test_complex_weights_count_by_their_modulus() -> None:
    network = torch.nn.ModuleDict({"layer": torch.nn.Linear(2, 1, dtype=torch.complex64)})
    weight_of(network["layer"]).copy_(torch.tensor([[3 + 4j, 4.5 + 0j]]))
    mask = ticketkit.draw(network, scheme="unstructured", sparsity=0.5).mask
    assert mask["layer.weight"].tolist() == [[True, False]]
