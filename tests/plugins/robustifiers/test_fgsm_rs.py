"""Robustifier `fgsm-rs`."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

import ticketkit
from ticketkit.testing import RobustifierLaws, cases
from ticketkit_plugins.robustifiers.fgsm_rs import FgsmRs


class TestFgsmRs(RobustifierLaws):
    part = FgsmRs()


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_it_is_one_signed_step_from_a_random_start(strength: float) -> None:
    model, (inputs, targets) = cases.runnable().eval(), cases.pictures()
    context = ticketkit.StepContext(
        cross_entropy, torch.Generator().manual_seed(0), strength=strength
    )
    found = FgsmRs(eps=0.1).perturb(model, inputs, targets, context)
    # Algorithm 3 of the paper, word for word.
    eps = 0.1 * strength
    delta = torch.empty(inputs.shape).uniform_(
        -eps, eps, generator=torch.Generator().manual_seed(0)
    )
    place = (inputs + delta).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(model(place), targets), place)
    delta = (place.detach() - inputs + 1.25 * eps * gradient.sign()).clamp(-eps, eps)
    torch.testing.assert_close(found, (inputs + delta).clamp(0, 1))


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(ticketkit.UsageError, match="eps is a finite number"):
        FgsmRs(eps=-0.1)
