"""Modes and generators come back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ticketkit.modes import evaluating, same_generators, seeded, training


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval(), nn.Sequential(nn.Dropout()))


def flags(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_every_module_comes_back_in_its_own_mode() -> None:
    model = network()
    before = flags(model)
    with evaluating(model):
        assert not any(flags(model))
    assert flags(model) == before
    assert len(set(before)) == 2


def test_modes_come_back_after_an_error_too() -> None:
    model = network()
    before = flags(model)
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert flags(model) == before


def test_what_else_eval_does_is_not_done() -> None:
    class Merges(nn.Linear):
        def train(self, mode: bool = True) -> Merges:
            raise AssertionError("weights would be merged here")

    with evaluating(Merges(2, 2)):
        pass


def test_generators_come_back() -> None:
    before = torch.random.get_rng_state()
    with same_generators([torch.ones(2)]):
        torch.rand(3)
        torch.manual_seed(5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_seed_gives_the_same_numbers_and_leaves_the_generator_as_it_was() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    drawn = []
    for _ in range(2):
        with seeded(5):
            drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    assert torch.equal(torch.rand(3), expected)
    assert torch.initial_seed() == 7


def test_a_network_in_training_comes_back_as_it_was() -> None:
    model = network()
    before = flags(model)
    with training(model):
        assert all(flags(model))
    assert flags(model) == before
