"""Evaluator `accuracy`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.functional
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, recall_score, top_k_accuracy_score
from torchmetrics.classification import MulticlassAccuracy

import ticketkit
from ticketkit.testing import EvaluatorLaws
from ticketkit_plugins.evaluators.accuracy import Accuracy


class TestAccuracy(EvaluatorLaws):
    part = Accuracy()


def measured(
    outputs: torch.Tensor, targets: torch.Tensor, batch: int = 7, figure: str = "top1"
) -> ticketkit.Estimate:
    accumulator = Accuracy().start()
    for at in range(0, len(outputs), batch):
        accumulator.update(outputs[at : at + batch], targets[at : at + batch])
    return accumulator.compute()[figure]


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


# Fault row 44
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


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 60), st.integers(6, 12), st.integers(1, 80), st.booleans(), st.integers(0, 99)
)
def test_top_5_is_that_of_a_stable_sort_and_of_scikit_learn(
    count: int, classes: int, batch: int, ties: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, classes, generator=generator)
    outputs = outputs.round() if ties else outputs
    targets = torch.randint(classes, (count,), generator=generator)
    found = measured(outputs, targets, batch, "top5")
    highest = outputs.argsort(dim=1, descending=True, stable=True)[:, :5]
    right = int((highest == targets[:, None]).any(1).sum())
    assert found.value == right / count
    assert (found.low, found.high) == ticketkit.wilson(right, count)
    if not ties:
        theirs = top_k_accuracy_score(targets, outputs, k=5, labels=range(classes))
        assert found.value == theirs


def test_of_five_classes_there_is_no_top_5() -> None:
    accumulator = Accuracy().start()
    accumulator.update(torch.eye(5), torch.arange(5))
    assert list(accumulator.compute()) == ["top1", "per_class"]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(2, 9), st.integers(1, 20), st.integers(0, 99))
def test_the_mean_over_classes_is_scikit_learns_and_torchmetrics_whatever_the_batches(
    count: int, classes: int, batch: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, classes, generator=generator)
    targets = torch.randint(classes, (count,), generator=generator)
    found = measured(outputs, targets, batch, "per_class")
    occurring = np.unique(targets.numpy())
    theirs = recall_score(targets, outputs.argmax(1), labels=occurring, average="macro")
    assert found.value == pytest.approx(theirs)
    assert found.n == count
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    if len(occurring) == classes:
        macro = MulticlassAccuracy(classes, average="macro")
        assert found.value == pytest.approx(macro(outputs, targets).item(), abs=1e-6)


def test_a_rare_class_counts_as_much_as_a_common_one() -> None:
    outputs = torch.eye(2)[[0] * 10]
    targets = torch.tensor([0] * 9 + [1])
    assert measured(outputs, targets, figure="per_class").value == 0.5


def test_a_class_of_one_right_sample_is_not_certain() -> None:
    found = measured(torch.eye(3), torch.arange(3), figure="per_class")
    # Each share counts as 2 of 3, with variance 2/9 over one sample.
    assert found.value == found.high == 1
    assert found.low == pytest.approx(1 - 1.959964 * (3 * 2 / 9) ** 0.5 / 3)


@pytest.mark.parametrize(
    ("classes", "size", "share"), [(10, 5, 0.9), (37, 100, 0.93), (100, 33, 0.98), (10, 20, 0.5)]
)
def test_the_interval_of_the_mean_over_classes_covers_the_truth_in_95_of_100_cases(
    classes: int, size: int, share: float
) -> None:
    lots = np.random.default_rng(0)
    shares = np.clip(lots.normal(share, 0.02, classes), 0, 1)
    targets = torch.arange(classes).repeat_interleave(size)
    covered = 0
    for _ in range(400):
        right = torch.from_numpy(lots.random(len(targets)) < np.repeat(shares, size))
        answers = torch.where(right, targets, (targets + 1) % classes)
        outputs = torch.nn.functional.one_hot(answers, classes).float()
        found = measured(outputs, targets, len(targets), "per_class")
        covered += found.low <= shares.mean() <= found.high
    assert covered >= 0.93 * 400  # of 0.95, less twice what chance may cost
