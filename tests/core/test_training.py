"""`fit`: what it does to a network, and that it can be interrupted anywhere."""

from __future__ import annotations

import copy
import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import ticketkit
from tests.core.networks import Named, network, pictures, same_bits
from ticketkit.errors import InputError, PluginError, Stopped, TrainingError, UsageError
from ticketkit.schedules import Schedule
from ticketkit.seeds import order, seed_of

OTHERS = ("adam", "AdamW", "adafactor", "rmsprop", "nadam", "asgd", "rprop")
SHORT = Schedule(epochs=3, batch=16, lr=0.05, momentum=0.9, augment="shift", ramp=0.5)


def fit(model: nn.Module, **options: Any) -> ticketkit.Fitted:
    data = options.pop("data", None) or pictures()
    return ticketkit.fit(model, data, **{"schedule": SHORT, **options})


def weight_of(model: nn.Module, name: str = "0.weight") -> torch.Tensor:
    return model.get_parameter(name)


def mean_of(model: nn.Module) -> torch.Tensor:
    return model.get_buffer("1.running_mean")


def test_it_is_the_training_that_one_would_write_by_hand() -> None:
    schedule = replace(SHORT, augment="none", weight_decay=0.01, milestones=(1, 2))
    model, hand = network(), network()
    fit(model, schedule=schedule, seed=7)

    data = pictures()
    optimizer = torch.optim.SGD(hand.parameters(), 0.05, 0.9, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2], 0.1)
    hand.train()
    step = 0
    for epoch in range(3):
        for indices in torch.tensor(order(7, epoch, 50)).tensor_split(4):
            torch.manual_seed(seed_of(7, "step", step, 0))
            optimizer.zero_grad()
            images = data.images[indices].float() / 255
            nn.functional.cross_entropy(hand(images), data.targets[indices]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1
        scheduler.step()
    for name, value in hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_it_learns() -> None:
    model = network()
    fitted = fit(model, schedule=replace(SHORT, epochs=20), data=pictures(200))
    assert fitted.steps == 20 * 13
    found = ticketkit.evaluate(model, pictures(200, seed=1), ["accuracy"])["accuracy"]["top1"]
    assert found.value > 0.95


def test_the_same_seed_gives_the_same_bits_and_torchs_generator_is_left_alone() -> None:
    one, two, other = network(), network(), network()
    before = torch.get_rng_state()
    fit(one)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    fit(two)
    fit(other, seed=1)
    assert same_bits(one, two)
    assert not same_bits(one, other)


def test_modes_and_what_is_frozen_stay() -> None:
    model = network()
    model[1].eval()
    weight_of(model).requires_grad_(False)
    before = copy.deepcopy(weight_of(model))
    fit(model)
    assert model.training
    assert not model[1].training
    assert torch.equal(weight_of(model), before)


def test_weight_decay_spares_vectors_where_it_is_for_matrices() -> None:
    data = pictures(4)
    schedule = Schedule(steps=1, batch=4, lr=1e-3, momentum=0.0, weight_decay=100.0)
    alone, all_, matrices = network(), network(), network()
    fit(alone, schedule=replace(schedule, weight_decay=0.0), data=data)
    fit(all_, schedule=schedule, data=data)
    fit(matrices, schedule=replace(schedule, decays="matrices"), data=data)
    assert torch.equal(weight_of(matrices, "1.weight"), weight_of(alone, "1.weight"))
    assert not torch.equal(weight_of(all_, "1.weight"), weight_of(alone, "1.weight"))
    torch.testing.assert_close(weight_of(matrices), weight_of(alone) - 0.1 * weight_of(network()))


@pytest.mark.parametrize("robustifier", [None, "pgd:norm=l2,eps=0.3", "free:replays=2"])
def test_a_held_ticket_keeps_its_zeros(robustifier: str | None) -> None:
    model = network()
    ticket = ticketkit.draw(model, scheme="unstructured", sparsity=0.8)
    fit(model, mask=ticket.mask, robustifier=robustifier)
    for name, keep in ticket.mask.items():
        weight = model.get_parameter(name)
        assert not weight[~keep].any()
        assert not torch.signbit(weight[~keep]).any()
        assert weight[keep].all()
    weight_of(model).data.fill_(1)  # it is held no longer
    fit(model)
    assert weight_of(model).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"robustifier": "pgd:norm=l2,eps=0.3,steps=2"},
        {"robustifier": "free:replays=3"},
        {"schedule": replace(SHORT, batchnorm="recalibrate")},
        {"schedule": replace(SHORT, epochs=0, steps=9, decay="cosine")},
        {"schedule": replace(SHORT, precision="bf16")},
        *({"schedule": replace(SHORT, optimizer=each, lr=0.003)} for each in OTHERS),
    ],
    ids=str,
)
def test_a_training_stopped_after_any_step_ends_in_the_same_bits(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = network()
    mask = ticketkit.draw(whole, scheme="unstructured", sparsity=0.5).mask
    reference = fit(whole, mask=mask, run=tmp_path / "whole", **options)
    broken = tmp_path / "broken"
    for step in range(1, reference.steps):
        message = f"stopped after step {step} of {reference.steps}; saved in"
        with pytest.raises(Stopped, match=message), stopping_after_one_step(monkeypatch):
            fit(network(), mask=mask, run=broken, resume=step > 1, **options)
    model = network()
    assert fit(model, mask=mask, run=broken, resume=True, **options) == reference
    assert same_bits(model, whole)
    events = [events_of(tmp_path / run) for run in ("whole", "broken")]
    epochs = [[e for e in each if e["event"] == "epoch"] for each in events]
    assert epochs[0] == epochs[1]


def stopping_after_one_step(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Signals that arrive in each first step."""
    context = monkeypatch.context()

    class Block:
        def __enter__(self) -> None:
            patch = context.__enter__()
            patch.setattr("ticketkit.stopping._requested", lambda: 75)

        def __exit__(self, *error: Any) -> None:
            context.__exit__(*error)

    return Block()


def events_of(run: Path) -> list[dict[str, Any]]:
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    model, again = network(), network()
    first = fit(model, run=tmp_path / "run")
    events: list[Any] = []
    assert fit(again, run=tmp_path / "run", resume=True, report=events.append) == first
    assert same_bits(model, again)
    assert [event["event"] for event in events] == ["fit"]
    with pytest.raises(UsageError, match=r"already there: .* --resume goes on with it"):
        fit(network(), run=tmp_path / "run")
    with pytest.raises(UsageError, match="a run of another recipe: seed was 0 and is 1"):
        fit(network(), run=tmp_path / "run", resume=True, seed=1)


def test_a_callers_loader_goes_on_at_the_end_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = replace(SHORT, augment="none")
    loader = DataLoader(samples(), batch_size=16, shuffle=True)
    whole, model = network(), network()
    fit(whole, data=loader, schedule=schedule)
    run = tmp_path / "run"
    calls = iter([None] * 5 + [130] * 9)
    with monkeypatch.context() as patch:
        patch.setattr("ticketkit.stopping._requested", lambda: next(calls))
        with pytest.raises(Stopped, match="stopped after step 6 of 12"):
            fit(network(), data=loader, schedule=schedule, run=run, save_every=0)
    events: list[Any] = []
    fit(model, data=loader, schedule=schedule, run=run, resume=True, report=events.append)
    assert events[0]["step"] == 4
    assert same_bits(model, whole)


def samples() -> Any:
    data = pictures()
    return torch.utils.data.TensorDataset(data.images.float() / 255, data.targets)


def test_the_loss_may_be_the_callers_own() -> None:
    calls = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(len(targets))
        return (outputs.logsumexp(1) - outputs.gather(1, targets[:, None])[:, 0]).mean()

    mine, theirs = network(), network()
    fit(mine, loss=loss, robustifier="pgd:steps=1")
    fit(theirs, robustifier="pgd:steps=1")
    assert len(calls) == 2 * 12
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_statistics_of_batchnorm_follow_the_policy() -> None:
    before = network()
    kept, moved, estimated = network(), network(), network()
    fit(kept, schedule=replace(SHORT, batchnorm="eval"))
    fit(moved, schedule=SHORT)
    fit(estimated, schedule=replace(SHORT, batchnorm="recalibrate"))
    assert torch.equal(mean_of(kept), mean_of(before))
    assert not torch.equal(mean_of(moved), mean_of(before))
    ticketkit.recalibrate(before, pictures())
    assert torch.equal(mean_of(estimated), mean_of(before))


# Fault row 41
def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path: Path) -> None:
    calls = 0

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        value = nn.functional.cross_entropy(outputs, targets)
        return value * math.nan if calls == 6 else value

    model = network()
    with pytest.raises(
        TrainingError,
        match=r"loss is nan at batch 2 of epoch 2, at learning rate 0\.05: .* saved in",
    ):
        fit(model, loss=loss, run=tmp_path / "run", save_every=0)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    saved = network()
    with pytest.raises(Stopped, match="after step 6"), stopping_at_once():
        fit(saved, loss=loss, run=tmp_path / "run", resume=True)


# Fault row 41
@pytest.mark.parametrize("last", [6, 12])
def test_weights_that_are_not_finite_are_never_saved(last: int, tmp_path: Path) -> None:
    calls = 0

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        value = nn.functional.cross_entropy(outputs, targets)
        return value + (value * 0).sqrt() if calls == last else value  # 0, of gradient NaN

    with pytest.raises(
        TrainingError,
        match=rf"0\.weight is not finite after step {last} of 12: .*; the last good state is saved",
    ):
        fit(network(), loss=loss, run=tmp_path / "run", save_every=0)
    model, whole = network(), network()
    fit(model, loss=loss, run=tmp_path / "run", resume=True)
    fit(whole)
    assert same_bits(model, whole)


def stopping_at_once() -> Any:
    return stopping_after_one_step(pytest.MonkeyPatch())


# Fault row 38
def test_a_batch_of_one_picture_is_told_where_batchnorm_cannot_take_it() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 3))
    with pytest.raises(InputError, match=r"batch 1 of epoch 1: BatchNorm needs two or more"):
        fit(model, data=pictures(1))
    fit(model, data=pictures(17), schedule=replace(SHORT, batch=16))  # 9 and 8, not 16 and 1


# Fault row 58
def test_where_memory_ends_a_smaller_batch_is_advised() -> None:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.sum() + torch.empty(2**45).sum()

    with pytest.raises(TrainingError, match="out of memory; try a smaller batch"):
        fit(network(), loss=loss)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"schedule": "small:epochs=0"}, UsageError, "found epochs=0, steps=0"),
        ({"stage": "linear", "schedule": "small"}, UsageError, "fit trains in steps"),
        ({"robustifier": "pdg"}, UsageError, "did you mean 'pgd'?"),
        ({"loss": lambda outputs, targets: outputs}, UsageError, "the loss is no scalar: found a"),
        (
            {"loss": lambda outputs, targets: 1.5},
            UsageError,
            "no scalar: found a float",
        ),
        ({"data": pictures(9, side=1)}, UsageError, "batch 1 of epoch 1: the network or the loss"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = Named() if "data" not in options else nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with pytest.raises(error, match=re.escape(message)):
        fit(model, **options)


def test_a_frozen_network_is_not_trained() -> None:
    with pytest.raises(UsageError, match="nothing to train: no parameter"):
        fit(network().requires_grad_(False))


# Fault row 39
def test_pictures_that_are_normalised_already_are_refused_under_attack() -> None:
    data = samples()
    images, targets = data.tensors
    shifted = torch.utils.data.TensorDataset((images - 0.5) / 0.3, targets)
    with pytest.raises(InputError, match=r"\[0, 1\].*ticketkit\.normalised"):
        fit(network(), data=shifted, robustifier="pgd")
    fit(network(), data=shifted)


class Odd(ticketkit.Robustifier):
    """Returns what it is told to."""

    name = "odd"

    def __init__(self, found: Any) -> None:
        self.found = found

    def batches(self, model: Any, inputs: Any, targets: Any, context: Any) -> Iterator[Any]:
        if self.found is not None:
            yield self.found(inputs)

    def perturb(self, model: Any, inputs: Any, targets: Any, context: Any) -> Any:
        return inputs


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "it made no step of a batch"),
        (lambda inputs: "picture", "it made a str of a batch"),
        (lambda inputs: inputs[1:], r"it made \[12, 1, 6, 6\] torch.float32 of \[13, 1, 6, 6\]"),
        (lambda inputs: inputs.double(), "torch.float64 of"),
        (lambda inputs: inputs / 0, "inputs that are NaN or infinite"),
        (lambda inputs: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_robustifier_that_breaks_its_promise_is_named(found: Any, message: str) -> None:
    with pytest.raises(PluginError, match=rf"part 'odd' not registered failed: .*{message}"):
        fit(network(), robustifier=Odd(found))


def test_a_data_set_with_transforms_of_its_own_goes_on_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = replace(SHORT, augment="none")
    whole, model = network(), network()
    fit(whole, data=Noisy(), schedule=schedule)
    with pytest.raises(Stopped), stopping_after_one_step(monkeypatch):
        fit(network(), data=Noisy(), schedule=schedule, run=tmp_path / "run")
    before = random.getstate(), numpy_state()
    fit(model, data=Noisy(), schedule=schedule, run=tmp_path / "run", resume=True)
    assert same_bits(model, whole)
    assert (random.getstate(), numpy_state()) == before


def numpy_state() -> list[int]:
    state: Any = np.random.get_state()
    return list(state[1].tolist())


class Noisy(torch.utils.data.Dataset[Any]):
    """Draws lots from every generator that transforms use."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        lot = random.random() + np.random.rand()
        return torch.rand(1, 6, 6) * lot / 2, index % 3


def test_what_a_data_set_raises_is_told_as_its_own() -> None:
    class Broken(Noisy):
        def __getitem__(self, index: int) -> Any:
            raise OSError("no such picture")

    with pytest.raises(InputError, match="the data failed in epoch 1: OSError: no such picture"):
        fit(network(), data=Broken())


def test_another_network_data_or_mask_is_another_training(tmp_path: Path) -> None:
    model = network()
    fit(model, run=tmp_path / "run")
    mask = ticketkit.draw(model, scheme="unstructured", sparsity=0.5).mask
    for options, field in (
        ({"mask": mask}, "mask"),
        ({"data": pictures(51)}, "data"),
        ({"loss": lambda outputs, targets: outputs.sum()}, "loss"),
    ):
        with pytest.raises(UsageError, match=f"a run of another recipe: .*{field}"):
            fit(network(), run=tmp_path / "run", resume=True, **options)
    with pytest.raises(UsageError, match=r"a run of another recipe: network"):
        fit(network(classes=4), run=tmp_path / "run", resume=True)


def test_no_gradient_stays_behind() -> None:
    model = network()
    fit(model)
    assert all(parameter.grad is None for parameter in model.parameters())
