"""What a network is worth on data: one forward pass, shared by every evaluator."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ticketkit
from ticketkit.testing import cases
from ticketkit_plugins.evaluators.accuracy import Accuracy

LAW = settings(deadline=None, max_examples=30)


def pictures(count: int = 33, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 2, 6, 6), generator=generator).byte()
    return images, torch.randint(4, (count,), generator=generator)


def evaluate(model: nn.Module, data: Any, *evaluators: Any, batch: int = 256) -> Any:
    return ticketkit.evaluate(model, data, evaluators or ["accuracy"], batch=batch)


class Counting(ticketkit.Evaluator):
    """Does in `update` and `compute` what it was told to, and counts the samples."""

    name = "counting"

    def __init__(self, update: Any = None, compute: Any = None) -> None:
        self.update, self.compute = update, compute

    def start(self) -> Any:
        return _Counter(self.update, self.compute)


class _Counter:
    def __init__(self, update: Any, compute: Any) -> None:
        self._update, self._compute, self.n = update, compute, 0

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        self.n += len(outputs)
        if self._update:
            self._update(outputs, targets)

    def compute(self) -> Any:
        return self._compute() if self._compute else ticketkit.Estimate(float(self.n), self.n)


def test_accuracy_is_the_share_of_pictures_that_a_loop_gets_right() -> None:
    model = cases.runnable()
    images, labels = pictures()
    right = 0
    for image, label in zip(images, labels, strict=True):
        right += int(model.eval()(image[None].float() / 255).argmax() == label)
    found = evaluate(model.train(), TensorDataset(images, labels), batch=8)["accuracy"]
    assert (found.value, found.n) == (right / 33, 33)
    assert (found.low, found.high) == ticketkit.wilson(right, 33)


@LAW
@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), st.integers(0, 9))
def test_neither_batches_nor_order_change_an_accuracy_nor_it_the_network(
    count: int, batch: int, training: bool, seed: int
) -> None:
    model = cases.runnable().train(training)
    model["norm"].train(not training)
    images, labels = pictures(count, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    before = cases.snapshot(model)
    found = evaluate(model, TensorDataset(images, labels))
    assert evaluate(model, TensorDataset(images[order], labels[order]), batch=batch) == found
    parts = [slice(at, at + batch) for at in range(0, count, batch)]
    assert evaluate(model, ((images[part], labels[part]) for part in parts)) == found
    assert cases.snapshot(model) == before


def test_evaluators_share_one_pass_and_are_found_by_their_specs() -> None:
    passes = []
    model = cases.runnable()
    model.register_forward_hook(lambda *_: passes.append(1))
    found = evaluate(model, TensorDataset(*pictures()), "accuracy", Counting(), batch=8)
    assert list(found) == ["accuracy", f"{__name__}:Counting"]
    assert [estimate.n for estimate in found.values()] == [33, 33]
    assert len(passes) == 5
    same = evaluate(model, TensorDataset(*pictures()), Accuracy(), "accuracy")
    assert list(same) == ["accuracy"]


def test_a_segmentation_is_measured_over_all_its_pictures() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(2, 3, 1)
    images = torch.rand(5, 2, 4, 4)
    labels = model(images).argmax(1)
    assert evaluate(model, TensorDataset(images, labels), "miou", batch=2)["miou"].value == 1


def test_loaders_serve_and_draw_nothing_from_torchs_generator() -> None:
    loader: Any = DataLoader(TensorDataset(*pictures()), 8, shuffle=True)
    model = cases.runnable()
    before = torch.random.get_rng_state()
    assert evaluate(model, loader) == evaluate(model, TensorDataset(*pictures()))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrapped_networks_serve(wrap: Any) -> None:
    data = TensorDataset(*pictures())
    assert evaluate(wrap(cases.runnable()), data) == evaluate(cases.runnable(), data)


def test_networks_in_half_precision_serve() -> None:
    model = cases.runnable().bfloat16()
    found = evaluate(model, TensorDataset(*pictures()))["accuracy"]
    images, labels = pictures()
    outputs = model.eval()((images.float() / 255).bfloat16())
    assert found.value == (outputs.argmax(1) == labels).double().mean().item()


def test_an_output_that_is_not_finite_is_told_by_its_sample_whoever_measures() -> None:
    images, labels = pictures()
    whole = images.double()
    whole[20] = torch.nan
    with pytest.raises(ticketkit.EvaluationError, match="sample 20: the network's output is NaN"):
        evaluate(cases.runnable(), TensorDataset(whole, labels), Counting(), batch=8)


def test_a_label_that_is_no_class_is_told_and_the_network_left_alone() -> None:
    images, labels = pictures()
    labels[21] = 4
    model = cases.runnable().train()
    before = cases.snapshot(model)
    told = "sample 21: label 4 is out of range: the network has 4 classes"
    with pytest.raises(ticketkit.EvaluationError, match=told):
        evaluate(model, TensorDataset(images, labels), batch=8)
    assert cases.snapshot(model) == before


@pytest.mark.parametrize("data", [[], TensorDataset(*pictures(0))])
def test_no_data_is_an_error(data: Any) -> None:
    with pytest.raises(ticketkit.EvaluationError, match="there is no data") as caught:
        evaluate(cases.runnable(), data)
    assert caught.value.exit_status == 1


@pytest.mark.parametrize(
    ("evaluators", "told"),
    [
        ("accuracy", r"evaluators is a list of specs, such as \['accuracy'\]"),
        ([], "evaluators is empty"),
        (["acuracy"], "unknown evaluator 'acuracy'.*did you mean 'accuracy'"),
        ([Accuracy], "are its \\(\\) missing"),
    ],
)
def test_evaluators_that_are_none_are_told(evaluators: Any, told: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=told):
        ticketkit.evaluate(cases.runnable(), TensorDataset(*pictures()), evaluators)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Counting(update=lambda o, t: 1 / 0), "ZeroDivisionError"),
        (Counting(update=lambda o, t: o.zero_()), "update changed outputs or targets"),
        (Counting(update=lambda o, t: t.add_(1)), "update changed outputs or targets"),
        (Counting(compute=lambda: 1 / 0), "ZeroDivisionError"),
        (Counting(compute=lambda: 0.5), "compute returned float, where a ticketkit.Estimate is"),
        (Counting(compute=lambda: ticketkit.Estimate(torch.nan, 3)), "compute returned the value"),
    ],
)
def test_an_evaluator_that_fails_is_named_and_the_network_left_alone(part: Any, told: str) -> None:
    model = cases.runnable().train()
    before = cases.snapshot(model)
    data = TensorDataset(*pictures())
    with pytest.raises(ticketkit.PluginError, match=f"part 'counting' not registered.*{told}"):
        evaluate(model, data, part)
    assert cases.snapshot(model) == before


def test_the_callers_data_are_left_alone() -> None:
    images, labels = pictures()
    kept = copy.deepcopy((images, labels))
    evaluate(cases.runnable(), [(images, labels)])
    assert torch.equal(images, kept[0])
    assert torch.equal(labels, kept[1])
