"""Robustifier `pgd`."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch.nn.functional import cross_entropy

import ticketkit
from ticketkit.testing import RobustifierLaws, cases
from ticketkit_plugins.robustifiers.pgd import Pgd


class TestPgd(RobustifierLaws):
    part = Pgd()


class TestPgdInL2(RobustifierLaws):
    part = Pgd("l2", eps=0.5, steps=2, restarts=2)


class TestPgdFromZero(RobustifierLaws):
    part = Pgd(start="zero", step=0.01)


def context(strength: float = 1.0, seed: int = 0) -> ticketkit.StepContext:
    generator = torch.Generator().manual_seed(seed)
    return ticketkit.StepContext(cross_entropy, generator, strength=strength)


def test_its_options_are_those_of_a_threat_model() -> None:
    part = cast("Pgd", ticketkit.resolve("robustifier", "pgd:norm=l2,eps=1/2,steps=2"))
    assert part == Pgd("l2", 0.5, 2)
    assert ticketkit.spec_of(Pgd()) == f"pgd:{ticketkit.ThreatModel().spec()}"


@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_it_is_the_attack_with_the_loss_the_generator_and_the_strength(strength: float) -> None:
    model, (inputs, targets) = cases.runnable(), cases.pictures()
    found = Pgd("l2", 0.5).perturb(model, inputs, targets, context(strength, seed=3))
    threat = ticketkit.ThreatModel("l2", 0.5 * strength)
    generator = torch.Generator().manual_seed(3)
    expected = ticketkit.attack(model, inputs, targets, threat, generator=generator)
    torch.testing.assert_close(found, expected)
    lengths = (found - inputs).flatten(1).norm(dim=1)
    assert (lengths <= 0.5 * strength + 1e-6).all()


@pytest.mark.parametrize("options", [{"eps": -1.0}, {"norm": "l1"}, {"restarts": 0}])
def test_what_has_no_meaning_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ticketkit.UsageError):
        Pgd(**options)
