"""Transfer: a ticket on another task, its zeros kept."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import ticketkit
from tests.core.networks import Named, pictures, same_bits
from ticketkit.errors import MismatchError, UsageError
from ticketkit.schedules import Schedule

DATA = pictures(60, classes=4, seed=1)
SGD = Schedule(epochs=2, batch=16, lr=0.05, batchnorm="recalibrate")


def drawn(model: nn.Module, sparsity: float = 0.6) -> ticketkit.Ticket:
    return ticketkit.draw(model, scheme="unstructured", sparsity=sparsity, digest=True)


def zeros_are_kept(model: nn.Module, ticket: ticketkit.Ticket) -> bool:
    removed = [model.get_parameter(name)[~keep] for name, keep in ticket.mask.items()]
    return not any(weights.any() or torch.signbit(weights).any() for weights in removed)


def test_a_finetuning_trains_all_that_was_kept() -> None:
    model, before = Named(), Named()
    ticket = drawn(model)
    fitted = ticketkit.transfer(model, ticket, DATA, mode="finetune", classes=4)
    assert fitted is not None
    assert fitted.steps == 40  # a step an epoch, as the pictures are few
    assert model.fc.out_features == 4
    assert zeros_are_kept(model, ticket)
    kept = ticket.mask["body.0.weight"]
    moved = model.get_parameter("body.0.weight") != before.get_parameter("body.0.weight")
    assert moved[kept].all()


def test_a_linear_evaluation_trains_the_head_alone() -> None:
    model, before = Named(), Named()
    ticket = drawn(model)
    assert ticketkit.transfer(model, ticket, DATA, classes=4) is None
    ticket.mask.apply_(before)
    ticketkit.recalibrate(before, DATA)
    assert same_bits(model.body, before.body)
    assert model.fc.out_features == 4


def test_a_linear_evaluation_is_a_logistic_regression_on_the_features() -> None:
    model = Named()
    ticket = drawn(model)
    ticketkit.transfer(model, ticket, DATA, classes=4, schedule="small:l2=0.01")
    model.eval()
    images = DATA.images.float() / 255
    with torch.no_grad():
        features = model.body(images).double()
        ours = model(images).softmax(1)
    standard = (features - features.mean(0)) / features.std(0, correction=0).clamp(min=1e-12)
    theirs = LogisticRegression(C=1 / (0.01 * len(DATA)), tol=1e-10, max_iter=10_000)
    theirs.fit(standard.numpy(), DATA.targets.numpy())
    expected = torch.from_numpy(theirs.predict_proba(standard.numpy()))
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("policy", ["eval", "train", "recalibrate"])
def test_a_linear_evaluation_by_steps_freezes_all_but_the_head(policy: Any) -> None:
    model, before = Named(), Named()
    ticket = drawn(model)
    schedule = replace(SGD, batchnorm=policy)
    ticketkit.transfer(model, ticket, DATA, classes=4, schedule=schedule)
    ticket.mask.apply_(before)
    weights = [each.get_parameter("body.0.weight") for each in (model, before)]
    assert torch.equal(weights[0], weights[1])
    still = torch.equal(
        model.get_buffer("body.1.running_mean"), before.get_buffer("body.1.running_mean")
    )
    assert still == (policy == "eval")
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training


def test_a_head_that_fits_may_stay() -> None:
    model, before = Named(), Named()
    ticketkit.transfer(
        model, drawn(model), pictures(60), mode="finetune", schedule=replace(SGD, lr=0.0)
    )
    assert torch.equal(model.get_parameter("fc.weight"), before.get_parameter("fc.weight"))


def test_the_same_seed_gives_the_same_bits() -> None:
    found = []
    for seed in (0, 0, 1):
        model = Named()
        ticketkit.transfer(model, drawn(model), DATA, mode="finetune", classes=4, seed=seed)
        found.append(model)
    assert same_bits(found[0], found[1])
    assert not same_bits(found[0], found[2])


def test_robust_finetuning_is_another() -> None:
    natural, robust = Named(), Named()
    for model, robustifier in (natural, None), (robust, "pgd:norm=l2,eps=1.0"):
        ticketkit.transfer(
            model, drawn(model), DATA, mode="finetune", classes=4, robustifier=robustifier
        )
    assert not same_bits(natural, robust)


def test_a_mask_alone_is_transferred_too() -> None:
    model = Named()
    ticket = drawn(model)
    ticketkit.transfer(model, ticket.mask, DATA, classes=4)
    assert zeros_are_kept(model, ticket)


def test_weights_that_the_ticket_was_not_drawn_from_are_refused() -> None:
    ticket, other, before = drawn(Named()), Named(seed=1), Named(seed=1)
    with pytest.raises(MismatchError, match="other weights than those the ticket was drawn from"):
        ticketkit.transfer(other, ticket, DATA, classes=4)
    assert same_bits(other, before)
    ticketkit.transfer(other, ticket, DATA, classes=4, verify=False)


def test_a_mask_of_another_network_is_refused_and_nothing_changes() -> None:
    model, before = Named(), Named()
    mask = ticketkit.Mask({"conv.weight": torch.ones(3, 3)})
    with pytest.raises(MismatchError, match="of its 1 parameters 1 are missing"):
        ticketkit.transfer(model, mask, DATA, classes=4)
    assert same_bits(model, before)


class Headless(nn.Sequential):
    """A network whose head has no name."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fine"}, "mode is one of finetune, linear, found 'fine'"),
        ({"ticket": "m.ticket.safetensors"}, "expected a ticket or a mask, found str"),
        ({"robustifier": "pgd"}, "solver=newton is for a linear evaluation, natural"),
        ({"schedule": "small:batchnorm=train"}, "batchnorm=train lets the features move"),
        (
            {"mode": "finetune", "schedule": "small:solver=newton,epochs=0"},
            "solver=newton is for a",
        ),
        ({"classes": 0}, "classes"),
    ],
)
def test_what_has_no_meaning_is_refused(options: dict[str, Any], message: str) -> None:
    model = Named()
    given = {"ticket": drawn(model), "data": DATA, "classes": 4, **options}
    with pytest.raises(UsageError, match=re.escape(message)):
        ticketkit.transfer(model, **given)


def test_a_network_without_a_head_by_name_is_told_so() -> None:
    model = Headless(nn.Flatten(), nn.Linear(36, 3))
    with pytest.raises(UsageError, match="no task head by its name"):
        ticketkit.transfer(model, drawn(model), DATA, classes=4)
