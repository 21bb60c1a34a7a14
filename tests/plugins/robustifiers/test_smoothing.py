"""Robustifier `smoothing`."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import ticketkit
from ticketkit.testing import RobustifierLaws
from ticketkit_plugins.robustifiers.smoothing import Smoothing


class TestSmoothing(RobustifierLaws):
    part = Smoothing()


def noise(sigma: float, strength: float = 1.0) -> torch.Tensor:
    inputs = torch.full((40, 3, 16, 16), 0.1)
    context = ticketkit.StepContext(
        cross_entropy, torch.Generator().manual_seed(0), strength=strength
    )
    return Smoothing(sigma).perturb(nn.Identity(), inputs, None, context) - inputs


@pytest.mark.parametrize("sigma", [0.12, 0.25, 1.0])
def test_the_noise_is_normal_and_is_not_clipped(sigma: float) -> None:
    found = noise(sigma)
    assert found.mean().item() == pytest.approx(0, abs=0.02 * sigma)
    assert found.std().item() == pytest.approx(sigma, rel=0.02)
    # The share of a normal distribution below one deviation; clipping would move it.
    assert (found < -sigma).float().mean().item() == pytest.approx(0.1587, abs=0.01)


def test_a_ramp_does_not_scale_the_noise() -> None:
    assert torch.equal(noise(0.25, strength=0.1), noise(0.25))


@pytest.mark.parametrize("sigma", [0.0, -0.25, math.nan, math.inf])
def test_a_deviation_that_is_not_above_zero_is_refused(sigma: float) -> None:
    with pytest.raises(ticketkit.UsageError, match="sigma is a finite number above 0"):
        Smoothing(sigma)


def test_pictures_that_are_normalised_already_are_refused() -> None:
    context = ticketkit.StepContext(cross_entropy, torch.Generator())
    with pytest.raises(ticketkit.InputError, match="the network normalises by itself"):
        Smoothing().perturb(nn.Identity(), torch.randn(2, 3, 4, 4), None, context)
