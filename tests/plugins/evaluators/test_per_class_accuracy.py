"""Evaluator `per-class-accuracy`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score
from ticketkit_plugins.evaluators.per_class_accuracy import PerClassAccuracy
from torchmetrics.classification import MulticlassAccuracy

import ticketkit


def measured(outputs: torch.Tensor, targets: torch.Tensor, batch: int = 2) -> ticketkit.Estimate:
    accumulator = PerClassAccuracy().start()
    for at in range(0, len(outputs), batch):
        accumulator.update(outputs[at : at + batch], targets[at : at + batch])
    return accumulator.compute()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(2, 9), st.integers(1, 20), st.integers(0, 99))
def test_it_is_torchmetrics_and_scikit_learns_whatever_the_batches(
    count: int, classes: int, batch: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, classes, generator=generator)
    targets = torch.randint(classes, (count,), generator=generator)
    found = measured(outputs, targets, batch)
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
    assert measured(outputs, targets).value == 0.5


def test_a_class_of_one_right_sample_is_not_certain() -> None:
    found = measured(torch.eye(3), torch.arange(3))
    # Each share counts as 2 of 3, with variance 2/9 over one sample.
    assert found.value == found.high == 1
    assert found.low == pytest.approx(1 - 1.959964 * (3 * 2 / 9) ** 0.5 / 3)


@pytest.mark.parametrize(
    ("classes", "size", "share"), [(10, 5, 0.9), (37, 100, 0.93), (100, 33, 0.98), (10, 20, 0.5)]
)
def test_its_interval_covers_the_truth_in_95_of_100_cases(
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
        found = measured(outputs, targets, len(targets))
        covered += found.low <= shares.mean() <= found.high
    assert covered >= 0.93 * 400  # of 0.95, less twice what chance may cost


@pytest.mark.parametrize(
    ("outputs", "targets", "words"),
    [
        (torch.zeros(1, 3), torch.tensor([3]), "3"),
        (torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), r"\(batch, classes\)"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    outputs: torch.Tensor, targets: torch.Tensor, words: str
) -> None:
    with pytest.raises(ticketkit.EvaluationError, match=words):
        measured(outputs, targets)


def test_no_sample_is_no_measure() -> None:
    with pytest.raises(ticketkit.EvaluationError, match="no sample"):
        PerClassAccuracy().start().compute()
