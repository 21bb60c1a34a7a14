"""Criterion `random`."""

from __future__ import annotations

import torch
from torch import nn

import ticketkit
from ticketkit.testing import CriterionLaws
from ticketkit_plugins.criteria.random import Random


class TestRandom(CriterionLaws):
    part = Random()


def _scores(name: str = "layer.weight", seed: int = 0) -> torch.Tensor:
    return Random().score(torch.zeros(40, 50), ticketkit.Context(name, seed))


def test_scores_follow_from_seed_and_name() -> None:
    assert torch.equal(_scores(), _scores())
    assert not torch.equal(_scores(), _scores(seed=1))
    assert not torch.equal(_scores(), _scores("other.weight"))


def test_scores_are_uniform_and_differ_between_layers() -> None:
    scores = _scores()
    assert 0 <= scores.min() < 0.01 < 0.99 < scores.max() < 1
    assert abs(scores.mean() - 0.5) < 0.03
    both = torch.stack([scores.flatten(), _scores("other.weight").flatten()])
    assert abs(torch.corrcoef(both)[0, 1]) < 0.1


def test_scores_do_not_depend_on_the_weights() -> None:
    context = ticketkit.Context("w", seed=3)
    one = Random().score(torch.ones(3, 4), context)
    assert torch.equal(one, Random().score(torch.randn(3, 4), context))


def test_a_draw_is_reproduced_by_its_seed() -> None:
    network = nn.ModuleDict({"a": nn.Linear(20, 10), "b": nn.Linear(20, 10)})

    def mask(seed: int) -> ticketkit.Mask:
        ticket = ticketkit.draw(
            network, scheme="unstructured", sparsity=0.5, criterion="random", seed=seed
        )
        return ticket.mask

    assert mask(7) == mask(7)
    assert mask(7) != mask(8)
    assert not torch.equal(mask(7)["a.weight"], mask(7)["b.weight"])
