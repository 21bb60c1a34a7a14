"""Robustifier `free`."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import ticketkit
from ticketkit.testing import RobustifierLaws, cases
from ticketkit_plugins.robustifiers.free import Free


class TestFree(RobustifierLaws):
    part = Free()


class TestFreeWithoutReplays(RobustifierLaws):
    part = Free(replays=1)


def context(strength: float = 1.0) -> ticketkit.StepContext:
    return ticketkit.StepContext(cross_entropy, torch.Generator().manual_seed(0), strength=strength)


def test_it_is_free_adversarial_training() -> None:
    model, (inputs, targets) = cases.runnable(), cases.pictures()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    for place in Free(eps=0.1, replays=4).batches(model, inputs, targets, context()):
        optimizer.zero_grad()
        cross_entropy(model(place), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen.append(place)
    # The loop of the paper, on a network of its own.
    other = cases.runnable()
    steps = torch.optim.SGD(other.parameters(), lr=0.1)
    delta = seen[0].detach() - inputs
    for place in seen:
        torch.testing.assert_close(place.detach(), (inputs + delta).clamp(0, 1))
        both = (inputs + delta).clamp(0, 1).requires_grad_()
        steps.zero_grad()
        cross_entropy(other(both), targets).backward()  # type: ignore[no-untyped-call]
        steps.step()
        assert both.grad is not None
        delta = (both.detach() - inputs + 0.1 * both.grad.sign()).clamp(-0.1, 0.1)
    assert len(seen) == 4


@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_it_starts_in_the_ball_and_anew_in_each_batch(strength: float) -> None:
    inputs = torch.full((20, 3, 8, 8), 0.5)
    found = Free(eps=0.2).perturb(nn.Identity(), inputs, None, context(strength))
    moved = found - inputs
    assert moved.abs().max() <= 0.2 * strength + 1e-6
    assert moved.std().item() == pytest.approx(0.2 * strength / 3**0.5, rel=0.05)
    assert torch.equal(Free(eps=0.2).perturb(nn.Identity(), inputs, None, context(strength)), found)


def test_a_gradient_that_is_not_a_number_moves_nothing() -> None:
    inputs = torch.full((1, 1, 1, 2), 0.5)
    steps = Free(eps=0.1).batches(nn.Identity(), inputs, None, context())
    first = next(steps)
    first.grad = torch.tensor([[[[torch.nan, 1.0]]]])
    second = next(steps).detach().flatten()
    assert second[0] == first.detach().flatten()[0]
    assert second[1].item() == pytest.approx(0.6)


def test_a_training_that_brings_no_gradient_back_is_told() -> None:
    steps = Free().batches(nn.Identity(), torch.full((1, 1, 2, 2), 0.5), None, context())
    next(steps)
    with pytest.raises(RuntimeError, match="no gradient came back to the inputs"):
        next(steps)


@pytest.mark.parametrize("replays", [0, -1, 1.5])
def test_a_batch_is_replayed_a_whole_number_of_times(replays: int) -> None:
    with pytest.raises(ticketkit.UsageError, match="replays is a whole number of 1 or more"):
        Free(replays=replays)


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(ticketkit.UsageError, match="eps is a finite number"):
        Free(eps=-0.1)
