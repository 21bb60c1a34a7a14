"""Evaluator `accuracy`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchmetrics.functional
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score

import ticketkit
from ticketkit_plugins.evaluators.accuracy import Accuracy


def measured(outputs: torch.Tensor, targets: torch.Tensor, batch: int = 7) -> ticketkit.Estimate:
    accumulator = Accuracy().start()
    for at in range(0, len(outputs), batch):
        accumulator.update(outputs[at : at + batch], targets[at : at + batch])
    return accumulator.compute()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(2, 9), st.integers(1, 80), st.integers(0, 99))
def test_it_is_scikit_learns_and_torchmetrics_whatever_the_batches(
    count: int, classes: int, batch: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, classes, generator=generator)
    targets = torch.randint(classes, (count,), generator=generator)
    found = measured(outputs, targets, batch)
    assert found.value == accuracy_score(targets, outputs.argmax(1))
    theirs = torchmetrics.functional.accuracy(
        outputs, targets, "multiclass", num_classes=classes, average="micro"
    )
    assert found.value == pytest.approx(theirs.item(), abs=1e-6)
    order = torch.randperm(count, generator=generator)
    assert measured(outputs[order], targets[order]) == found


def test_its_interval_is_wilsons() -> None:
    outputs = torch.eye(3).repeat(10, 1)
    targets = torch.tensor([0, 1, 1] * 10)
    expected = binomtest(20, 30).proportion_ci(method="wilson")
    found = measured(outputs, targets)
    assert (found.value, found.n) == (20 / 30, 30)
    assert found.low == pytest.approx(expected.low)
    assert found.high == pytest.approx(expected.high)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_of_equal_outputs_the_first_counts_in_every_dtype(dtype: torch.dtype) -> None:
    outputs = torch.tensor([[1, 1, 0], [0, 1, 1], [2, 2, 2]], dtype=dtype)
    assert measured(outputs, torch.tensor([0, 1, 0])).value == 1


@pytest.mark.parametrize(
    ("outputs", "targets", "told"),
    [
        (torch.zeros(2, 3), [0, 3], "sample 7: label 3 is out of range: the network has 3 classes"),
        (torch.full((2, 3), torch.nan), [0, 1], "sample 6: the network's output is NaN"),
        (torch.zeros(2, 3, 1), [[0], [1]], r"accuracy takes outputs \(batch, classes\)"),
        (torch.zeros(2, 3), [0], "found"),
    ],
)
def test_what_means_nothing_is_told(outputs: torch.Tensor, targets: Any, told: str) -> None:
    accumulator = Accuracy().start()
    accumulator.update(torch.zeros(6, 3), torch.zeros(6).long())
    with pytest.raises(ticketkit.EvaluationError, match=told):
        accumulator.update(outputs, torch.tensor(targets))


def test_of_no_sample_there_is_no_accuracy() -> None:
    with pytest.raises(ticketkit.EvaluationError, match="accuracy: there is no sample"):
        Accuracy().start().compute()
