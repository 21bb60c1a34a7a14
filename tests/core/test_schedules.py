"""The learning rate, and the strength of a perturbation, over a training."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ticketkit.errors import UsageError
from ticketkit.schedules import Schedule


def test_the_rate_falls_to_a_tenth_at_each_milestone_as_torchs_does() -> None:
    schedule = Schedule(epochs=6, lr=0.5, milestones=(2, 5))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5], 0.1)
    for epoch in range(6):
        assert schedule.rate(3 * epoch, 3) == pytest.approx(theirs.get_last_lr()[0])
        assert schedule.rate(3 * epoch + 2, 3) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_the_rate_falls_along_a_cosine_as_torchs_does() -> None:
    schedule = Schedule(steps=50, lr=0.3, decay="cosine")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for step in range(50):
        assert schedule.rate(step, 7) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_milestones_are_steps_where_these_are_counted() -> None:
    schedule = Schedule(steps=30_000, lr=0.01, milestones=(18_000, 22_000))
    rates = [schedule.rate(step, 366) for step in (0, 17_999, 18_000, 21_999, 22_000, 29_999)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from(["steps", "cosine"]))
def test_the_rate_rises_linearly_and_never_above_the_highest(
    steps: int, warmup: float, decay: str
) -> None:
    schedule = Schedule(steps=steps, lr=0.1, warmup=warmup, decay=decay)  # type: ignore[arg-type]
    rates = [schedule.rate(step, 10) for step in range(steps)]
    rising = math.ceil(warmup * steps)
    assert all(0 < rate <= 0.1 for rate in rates)
    assert rates[:rising] == sorted(rates[:rising])
    assert rates[rising:] == sorted(rates[rising:], reverse=True)


def test_a_perturbation_grows_over_the_ramp() -> None:
    schedule = Schedule(epochs=1, ramp=0.2)
    found = [schedule.strength(progress) for progress in (0, 0.1, 0.2, 1)]
    assert found == pytest.approx([0.05, 0.525, 1, 1])
    assert Schedule(epochs=1).strength(0) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "counted in epochs or in steps: found epochs=0, steps=0"),
        ({"epochs": 1, "steps": 1}, "found epochs=1, steps=1"),
        ({"solver": "newton", "epochs": 3}, "newton runs until it converges: found epochs=3"),
        ({"epochs": 1, "batch": 0}, "batch is a number of pictures from 1 on, found 0"),
        ({"epochs": 1, "lr": math.nan}, "lr is a number from 0 on, found nan"),
        ({"epochs": -1}, "epochs is a number from 0 on, found -1"),
        ({"epochs": 1, "warmup": 1.5}, "warmup is a share of the training, in [0, 1], found 1.5"),
        ({"epochs": 1, "milestones": (3, 2)}, "milestones rise, from 1 on, found (3, 2)"),
        ({"epochs": 1, "milestones": (0,)}, "milestones rise, from 1 on, found (0,)"),
        ({"epochs": 1, "decay": "cosine", "milestones": (1,)}, "milestones are for decay=steps"),
        ({"epochs": 1, "nesterov": True, "momentum": 0.0}, "nesterov needs a momentum above 0"),
        ({"epochs": 1, "size": 32}, "size is for augment=crop"),
    ],
)
def test_a_schedule_without_meaning_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Schedule(**fields)  # type: ignore[arg-type]
