"""The optimizer of a schedule: any of torch's."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
from torch import nn

from tests.core.networks import Named, network
from tests.learners import Learner
from ticketkit.errors import UsageError
from ticketkit.optimizers import optimizer_class, optimizer_of
from ticketkit.schedules import Schedule

REFUSED = {"lbfgs", "muon", "sparseadam"}
ALL = sorted(
    name
    for name, each in vars(torch.optim).items()
    if inspect.isclass(each) and name != "Optimizer" and name.lower() not in REFUSED
)


def made(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return optimizer_of(model, Schedule(epochs=1, **options))


@pytest.mark.parametrize("name", ALL)
def test_every_optimizer_of_torch_steps_as_torchs_own_does(name: str) -> None:
    ours, theirs = network(), network()
    kind = getattr(torch.optim, name)
    known = inspect.signature(kind).parameters
    wanted = {"momentum": 0.5, "weight_decay": 0.01}
    options = {key: value for key, value in wanted.items() if key in known}
    one = made(ours, optimizer=name.upper(), lr=0.05, momentum=0.5, weight_decay=0.01)
    other = kind(theirs.parameters(), lr=0.05, **options)
    assert type(one) is kind
    for _ in range(3):
        for model, optimizer in ((ours, one), (theirs, other)):
            optimizer.zero_grad()
            generator = torch.Generator().manual_seed(0)
            model.eval()(torch.rand(4, 1, 6, 6, generator=generator)).square().sum().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ALL)
def test_a_step_of_any_optimizer_is_seen_by_a_mask_that_is_learned(name: str) -> None:
    job = Learner(Named(), "kernel", 0.5)
    with job.learning() as learned:
        before = learned.mask()
        optimizer = made(learned, optimizer=name, lr=0.5)
        inputs = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        for _ in range(3):
            optimizer.zero_grad()
            learned(inputs).square().sum().backward()
            optimizer.step()
        after = learned.mask()
        best = learned.scores[0].detach().abs().flatten().argsort(descending=True, stable=True)
        kept = after["body.0.weight"].any((1, 2, 3)).nonzero().flatten()
        assert after is not before
        assert sorted(best[:4].tolist()) == kept.tolist()


def test_weight_decay_is_for_all_or_for_matrices_scores_among_them() -> None:
    with Learner(Named(), "channel", 0.5).learning() as learned:
        for decays in ("all", "matrices"):
            optimizer = made(learned, optimizer="adamw", weight_decay=0.3, decays=decays)
            decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
            assert decay[id(learned.scores[0])] == 0.3
            bias = learned.get_parameter("network.fc.bias")
            assert decay[id(bias)] == (0.3 if decays == "all" else 0.0)


def test_nesterov_is_for_those_that_know_it() -> None:
    assert made(network(), nesterov=True).defaults["nesterov"]
    assert "nesterov" not in made(network(), optimizer="adam", nesterov=True).defaults


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lbfgs", "optimizer LBFGS cannot train here: it evaluates the loss several times a step"),
        ("SparseAdam", "optimizer SparseAdam cannot train here: it takes sparse gradients alone"),
        ("adamm", "unknown optimizer 'adamm'; choose from adadelta, adafactor, adagrad, adam, "),
        ("adamm", "did you mean 'adam'"),
        ("optimizer", "unknown optimizer 'optimizer'"),
        (3, "unknown optimizer 3; choose from"),
    ],
)
def test_what_cannot_train_is_refused(name: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        optimizer_class(name)


def test_what_an_optimizer_does_not_take_is_told() -> None:
    with pytest.raises(UsageError, match="optimizer Muon: Muon only supports 2D parameters"):
        made(network(), optimizer="muon")
    frozen = network().requires_grad_(False)
    with pytest.raises(UsageError, match="nothing to train"):
        made(frozen)
