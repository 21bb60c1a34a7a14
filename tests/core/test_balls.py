"""Balls: starts are uniform, directions have length 1, the nearest place is in the ball."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ticketkit import ThreatModel
from ticketkit.balls import direction, nearest, start

NORMS: list[Any] = ["linf", "l2"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def length(norm: str, moved: torch.Tensor) -> torch.Tensor:
    order = math.inf if norm == "linf" else 2
    return torch.from_numpy(np.linalg.norm(moved.flatten(1).numpy(), order, axis=1))


def test_a_random_start_in_linf_is_uniform() -> None:
    clean = torch.full((1000, 3, 4, 4), 0.5, dtype=torch.float64)
    moved = start(ThreatModel("linf", 0.2), clean, generator()) - clean
    quantiles = torch.quantile(moved[:, 0].flatten(), torch.tensor([0.1, 0.5, 0.9]).double())
    torch.testing.assert_close(
        quantiles, torch.tensor([-0.16, 0.0, 0.16]).double(), atol=0.01, rtol=0
    )
    assert moved.abs().max() <= 0.2 + 1e-15


@pytest.mark.parametrize("size", [1, 2, 12])
def test_a_random_start_in_l2_is_uniform_in_the_ball(size: int) -> None:
    clean = torch.full((4000, size), 0.5, dtype=torch.float64)
    moved = start(ThreatModel("l2", 0.4), clean, generator()) - clean
    # The share of the ball's volume within a point's radius is uniform.
    shares = (moved.norm(dim=1) / 0.4) ** size
    assert shares.max() <= 1 + 1e-12
    for quantile in (0.1, 0.5, 0.9):
        assert torch.quantile(shares, quantile).item() == pytest.approx(quantile, abs=0.03)
    assert moved.mean(0).abs().max() < 0.02
    signs = (moved > 0).double().mean(0)
    assert (signs - 0.5).abs().max() < 0.04


@pytest.mark.parametrize("norm", NORMS)
def test_a_start_at_zero_is_the_picture(norm: Any) -> None:
    clean = torch.rand(2, 3, generator=generator())
    assert torch.equal(start(ThreatModel(norm, 0.1, start="zero"), clean, generator()), clean)


@pytest.mark.parametrize("norm", NORMS)
def test_a_start_is_clipped_to_the_box(norm: Any) -> None:
    found = start(ThreatModel(norm, 5.0), torch.zeros(50, 4), generator())
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30])
def test_a_direction_in_l2_has_length_1_however_small_the_gradient(scale: float) -> None:
    gradient = torch.tensor([[3.0, -4.0], [0.0, 2.0]]) * scale
    expected = torch.tensor([[0.6, -0.8], [0.0, 1.0]])
    torch.testing.assert_close(direction(ThreatModel("l2"), gradient), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_where_the_gradient_is_zero_there_is_no_direction(norm: Any) -> None:
    gradient = torch.zeros(2, 3, 4)
    assert torch.equal(direction(ThreatModel(norm), gradient), gradient)


pictures = hnp.arrays(np.float64, (3, 5), elements=st.floats(0, 1))
places = hnp.arrays(np.float64, (3, 5), elements=st.floats(-10, 10))


@given(pictures, places, st.sampled_from(NORMS), st.floats(0, 2))
def test_the_nearest_place_is_in_the_ball_and_in_the_box(
    clean: Any, place: Any, norm: Any, eps: float
) -> None:
    picture = torch.from_numpy(clean)
    found = nearest(ThreatModel(norm, eps), torch.from_numpy(place), picture)
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert (length(norm, found - picture) <= eps + 1e-12).all()


@given(pictures, st.sampled_from(NORMS))
def test_what_is_in_both_stays(clean: Any, norm: Any) -> None:
    picture = torch.from_numpy(clean)
    place = (picture + 0.01).clamp(max=1)
    torch.testing.assert_close(nearest(ThreatModel(norm, 0.1), place, picture), place)


def test_the_projection_in_l2_keeps_the_direction() -> None:
    clean = torch.full((1, 2), 0.5)
    found = nearest(ThreatModel("l2", 0.1), clean + torch.tensor([[3.0, 4.0]]), clean)
    torch.testing.assert_close(found - clean, torch.tensor([[0.06, 0.08]]))
