"""The training of a draw, and the way back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ticketkit
from tests.core.networks import Named, pictures, same_bits
from ticketkit.losses import cross_entropy
from ticketkit.retraining import Recipe, Retraining
from ticketkit.schedules import Schedule
from ticketkit_plugins.strategies.omp import Omp

SCHEDULE = Schedule(epochs=1, batch=10, lr=0.05)
RECIPE = Recipe(pictures(50), SCHEDULE, cross_entropy, None, 0)


def test_rewinding_restores_every_bit_of_weights_and_statistics() -> None:
    model = Named()
    with torch.no_grad():
        model.get_parameter("body.0.weight")[0, 0, 0] = torch.tensor([-0.0, 1e-40, -1e-45])
    before = copy.deepcopy(model)
    training = Retraining(model, RECIPE, None)
    training.fit(1)
    assert not same_bits(model, before)
    after = training.state()
    training.rewind()
    assert same_bits(model, before)
    training.rewind(after)
    assert not same_bits(model, before)


def test_trainings_of_a_draw_differ_in_their_order_of_the_data() -> None:
    model = Named()
    training = Retraining(model, RECIPE, None)
    found = []
    for number, steps in ((1, 0), (1, 0), (2, 0), (2, 5)):
        training.rewind()
        training.fit(number, steps=steps)
        found.append(copy.deepcopy(model))
    assert not any(same_bits(a, b) for i, a in enumerate(found) for b in found[:i])


class Idle(ticketkit.Strategy):
    """Fits, and does not say that it trains."""

    name = "idle"

    def rounds(self, job: ticketkit.Job) -> Iterator[ticketkit.Round]:
        job.fit()
        yield ticketkit.Round(job.select(job.sparsity))


def test_a_strategy_that_does_not_say_that_it_trains_cannot() -> None:
    with pytest.raises(ticketkit.PluginError, match="it does not say that it trains"):
        ticketkit.draw(Named(), scheme="row", sparsity=0.5, strategy=Idle())


@pytest.mark.parametrize(
    "option",
    [
        {"data": pictures(10)},
        {"robustifier": "pgd"},
        {"schedule": "small"},
        {"run": "run"},
    ],
)
def test_one_that_does_not_train_takes_nothing_to_train_with(option: dict[str, Any]) -> None:
    with pytest.raises(ticketkit.UsageError, match="strategy omp does not train: leave data="):
        ticketkit.draw(Named(), scheme="row", sparsity=0.5, strategy=Omp(), **option)


def test_one_that_trains_needs_a_network_and_data(tmp_path: Path) -> None:
    with pytest.raises(ticketkit.UsageError, match="trains: it needs data="):
        ticketkit.draw(Named(), scheme="row", sparsity=0.5, strategy="imp")
    torch.save(Named().state_dict(), tmp_path / "x.pt")
    checkpoint = ticketkit.open_checkpoint(tmp_path / "x.pt")
    with pytest.raises(ticketkit.UsageError, match="trains: it needs a network and data"):
        ticketkit.draw(checkpoint, scheme="row", sparsity=0.5, strategy="imp", data=pictures(10))


def test_a_sparsity_out_of_reach_is_refused_before_any_training() -> None:
    told: list[object] = []
    with pytest.raises(ticketkit.UnreachableSparsity, match="the highest sparsity reachable"):
        ticketkit.draw(
            Named(),
            scheme="channel",
            sparsity=0.99,
            strategy="imp:train_first=true",
            data=pictures(10),
            report=told.append,
        )
    assert told == []
