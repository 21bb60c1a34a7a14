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

LAW = settings(deadline=None, max_examples=50)


class TestAccuracy(EvaluatorLaws):
    part = Accuracy()


def measured(outputs: torch.Tensor, targets: torch.Tensor, batch: int = 7) -> ticketkit.Figures:
    accumulator = Accuracy().start()
    for at in range(0, len(outputs), batch):
        accumulator.update(outputs[at : at + batch], targets[at : at + batch])
    return accumulator.compute()


def drawn(count: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, classes, generator=generator)
    return outputs, torch.randint(classes, (count,), generator=generator)


SAMPLES = st.tuples(st.integers(1, 60), st.integers(2, 12), st.integers(0, 99))


@LAW
@given(SAMPLES, st.integers(1, 80))
def test_its_shares_are_scikit_learns_and_torchmetrics_whatever_the_batches(
    samples: tuple[int, int, int], batch: int
) -> None:
    outputs, targets = drawn(*samples)
    classes = outputs.shape[1]
    found = measured(outputs, targets, batch)
    assert found["top1"].value == accuracy_score(targets, outputs.argmax(1))
    theirs = torchmetrics.functional.accuracy(
        outputs, targets, "multiclass", num_classes=classes, average="micro"
    )
    assert found["top1"].value == pytest.approx(theirs.item(), abs=1e-6)
    assert ("top5" in found) == (classes > 5)
    if classes > 5:
        theirs = top_k_accuracy_score(targets, outputs, k=5, labels=range(classes))
        assert found["top5"].value == pytest.approx(theirs, abs=1e-12)
    order = torch.randperm(len(targets))
    assert measured(outputs[order], targets[order]) == found


@LAW
@given(SAMPLES, st.integers(1, 20))
def test_the_mean_over_classes_is_torchmetrics_and_scikit_learns(
    samples: tuple[int, int, int], batch: int
) -> None:
    outputs, targets = drawn(*samples)
    found, occurring = measured(outputs, targets, batch)["per_class"], np.unique(targets.numpy())
    theirs = recall_score(targets, outputs.argmax(1), labels=occurring, average="macro")
    assert found.value == pytest.approx(theirs)
    assert found.n == len(targets)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    if len(occurring) == outputs.shape[1]:
        macro = MulticlassAccuracy(outputs.shape[1], average="macro")
        assert found.value == pytest.approx(macro(outputs, targets).item(), abs=1e-6)


def test_the_intervals_of_its_shares_are_wilsons() -> None:
    outputs = torch.eye(6).repeat(5, 1)
    targets = torch.tensor([0, 1, 2, 3, 0, 0] * 5)
    found = measured(outputs, targets)
    # Zeros tie: a class 0 is among the first five in any case.
    for name, right in {"top1": 20, "top5": 30}.items():
        expected = binomtest(right, 30).proportion_ci(method="wilson")
        assert (found[name].value, found[name].n) == (right / 30, 30)
        assert found[name].low == pytest.approx(expected.low)
        assert found[name].high == pytest.approx(expected.high)
    assert {(each.unit, each.better) for each in found.values()} == {("share", "higher")}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_of_equal_outputs_the_first_count_in_every_dtype(dtype: torch.dtype) -> None:
    outputs = torch.tensor([[1, 1, 0], [0, 1, 1], [2, 2, 2]], dtype=dtype)
    assert measured(outputs, torch.tensor([0, 1, 0]))["top1"].value == 1
    tied = torch.zeros(1, 7, dtype=dtype)
    tied[0, 6] = 1  # and then 0, 1, 2 and 3
    five = [measured(tied, torch.tensor([label]))["top5"].value for label in range(7)]
    assert five == [1, 1, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_may_be_whole_numbers_of_any_dtype(dtype: torch.dtype) -> None:
    outputs, targets = drawn(20, 7, 0)
    assert measured(outputs, targets.to(dtype)) == measured(outputs, targets)


def test_a_rare_class_counts_as_much_as_a_common_one() -> None:
    outputs = torch.eye(2)[[0] * 10]
    targets = torch.tensor([0] * 9 + [1])
    assert measured(outputs, targets)["per_class"].value == 0.5


def test_a_class_of_one_right_sample_is_not_certain() -> None:
    found = measured(torch.eye(3), torch.arange(3))["per_class"]
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
        found = measured(outputs, targets, len(targets))["per_class"]
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= shares.mean() <= found.high
    assert covered >= 0.93 * 400  # of 0.95, less twice what chance may cost


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
