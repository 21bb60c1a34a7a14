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
    for number, steps in ((1, 0), (1, 0), (2, 0), (2, 4)):
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


def test_a_preset_that_trains_no_network_is_refused() -> None:
    for strategy in ("imp", "lmp"):
        with pytest.raises(ticketkit.UsageError, match="solver=newton is for a linear evaluation"):
            ticketkit.draw(
                Named(),
                scheme="row",
                sparsity=0.5,
                strategy=strategy,
                data=pictures(10),
                schedule="small:solver=newton,epochs=0",
            )


def test_a_preset_means_other_rounds_downstream() -> None:
    options: dict[str, Any] = {
        "scheme": "row",
        "sparsity": 0.5,
        "strategy": "imp:rate=0.6",
        "data": pictures(10),
    }
    up, down = (
        ticketkit.draw(Named(), stage=stage, **options).provenance.fit or ""
        for stage in ("upstream", "downstream")
    )
    assert up.startswith("epochs=2,")
    assert down.startswith("epochs=40,")
    with pytest.raises(ticketkit.UsageError, match="stage is one of upstream, downstream"):
        ticketkit.draw(Named(), stage="linear", **options)  # type: ignore[arg-type]


class Gradual(ticketkit.Strategy):
    """Cuts and trains a few steps, again and again, from the pretrained weights each time."""

    name = "gradual"
    trains = True

    def rounds(self, job: ticketkit.Job) -> Iterator[ticketkit.Round]:
        mask = job.last.ticket.mask if job.last else None
        for sparsity in (0.3, 0.5, 0.7)[job.last.number if job.last else 0 :]:
            job.rewind()
            job.fit(mask, steps=3)
            job.fit(mask, steps=4)
            mask = job.select(sparsity, mask)
            yield ticketkit.Round(mask, sparsity)


def test_each_training_of_a_round_is_one_of_its_own(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "scheme": "unstructured",
        "sparsity": 0.7,
        "strategy": Gradual(),
        "data": pictures(50),
        "schedule": SCHEDULE,
    }
    assert ticketkit.draw(Named(), **options) == ticketkit.draw(
        Named(), run=tmp_path / "run", save_every=0, **options
    )


@pytest.mark.parametrize("steps", [-1, 5, 99])
def test_a_training_cannot_end_early_where_it_has_no_step(steps: int) -> None:
    with pytest.raises(ticketkit.UsageError, match="a training of 5 steps cannot end early after"):
        Retraining(Named(), RECIPE, None).fit(1, steps=steps)


def test_buffers_that_no_state_dict_has_come_back_too() -> None:
    model = Named()
    model.register_buffer("seen", torch.zeros(1), persistent=False)
    training = Retraining(model, RECIPE, None)
    model.get_buffer("seen").add_(1)
    training.rewind()
    assert model.get_buffer("seen").item() == 0


def test_what_fails_in_a_training_is_not_the_strategys_fault() -> None:
    def report(event: object) -> None:
        raise ZeroDivisionError("of the caller's own")

    with pytest.raises(ZeroDivisionError, match="of the caller's own"):
        ticketkit.draw(
            Named(),
            scheme="row",
            sparsity=0.5,
            strategy="imp",
            data=pictures(10),
            report=report,
        )


def test_what_cannot_be_trained_with_is_told_before_a_run_is_begun(tmp_path: Path) -> None:
    """A loader augments by itself, and the usual schedule does too."""
    loader = torch.utils.data.DataLoader(
        pictures(20), batch_size=10, collate_fn=lambda batch: batch
    )
    options: dict[str, Any] = {"scheme": "row", "sparsity": 0.5, "strategy": "imp"}
    with pytest.raises(ticketkit.UsageError, match="a loader of your own augments"):
        ticketkit.draw(Named(), data=loader, run=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    schedule = "small:epochs=1,augment=none"
    ticketkit.draw(Named(), data=loader, run=tmp_path / "run", schedule=schedule, **options)
