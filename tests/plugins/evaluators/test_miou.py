"""Evaluator `miou`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score
from torchmetrics.classification import MulticlassJaccardIndex

import ticketkit
from ticketkit.testing import EvaluatorLaws
from ticketkit_plugins.evaluators.miou import MeanIoU


class TestMeanIoU(EvaluatorLaws):
    part = MeanIoU()
    segmentation = True


LAW = settings(deadline=None, max_examples=50)


def measured(outputs: torch.Tensor, targets: torch.Tensor, batch: int = 2) -> ticketkit.Estimate:
    accumulator = MeanIoU().start()
    for at in range(0, len(outputs), batch):
        accumulator.update(outputs[at : at + batch], targets[at : at + batch])
    return accumulator.compute()["miou"]


@LAW
@given(st.integers(1, 5), st.integers(2, 21), st.integers(1, 6), st.integers(0, 99))
def test_it_is_torchmetrics_and_scikit_learns_whatever_the_batches(
    count: int, classes: int, batch: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, classes, 5, 4, generator=generator)
    targets = torch.randint(classes, (count, 5, 4), generator=generator).byte()
    targets[torch.rand(targets.shape, generator=generator) < 0.3] = 255
    targets[0, 0, 0] = 0
    found = measured(outputs, targets, batch)
    theirs = MulticlassJaccardIndex(classes, ignore_index=255)
    theirs.update(outputs, targets.long())
    assert found.value == pytest.approx(theirs.compute().item(), abs=1e-6)
    known = targets != 255
    predicted = outputs.argmax(1)[known]
    # Its labels are those that occur in either: classes that do not have no part in the mean.
    assert found.value == pytest.approx(jaccard_score(targets[known], predicted, average="macro"))
    assert found.n == count
    assert (found.low is None) == (found.high is None) == (count == 1)


def test_a_picture_may_have_any_number_of_pixels_of_a_class() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(1, 2, 32, 32, generator=generator)
    targets = torch.randint(2, (1, 32, 32), generator=generator)
    theirs = MulticlassJaccardIndex(2)
    theirs.update(outputs, targets)
    assert measured(outputs, targets).value == pytest.approx(theirs.compute().item(), abs=1e-6)


def test_it_is_one_confusion_matrix_and_no_mean_over_pictures() -> None:
    # Class 0: 3 of 4 right, none wrong elsewhere; class 1: the other way round; class 2: nowhere.
    targets = torch.tensor([[[0, 0]], [[0, 0]], [[1, 1]]])
    predicted = torch.tensor([[[0, 0]], [[0, 1]], [[1, 1]]])
    outputs = torch.nn.functional.one_hot(predicted, 3).movedim(-1, 1).float()
    assert measured(outputs, targets).value == (3 / 4 + 2 / 3) / 2


def test_its_interval_is_a_bootstrap_over_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(3, (60, 4, 4), generator=generator)
    noise = 1.5 * torch.rand((60, 1, 1, 1), generator=generator)
    outputs = torch.nn.functional.one_hot(targets, 3).movedim(-1, 1).float()
    outputs += noise * torch.randn(outputs.shape, generator=generator)
    lots, again = np.random.default_rng(7), []
    for _ in range(300):
        chosen = lots.integers(60, size=60)
        labels, answers = targets[chosen].flatten(), outputs[chosen].argmax(1).flatten()
        again.append(jaccard_score(labels, answers, average="macro"))
    found = measured(outputs, targets, 7)
    ends = tuple(np.quantile(again, [0.025, 0.975]))
    assert (found.low, found.high) == pytest.approx(ends, abs=0.015)
    assert measured(outputs, targets, 60) == found


# Fault row 44
@pytest.mark.parametrize(
    ("outputs", "targets", "told"),
    [
        (torch.zeros(1, 3, 2, 2), [[[0, 3], [255, 1]]], "sample 4: label 3 is out of range"),
        (torch.full((1, 3, 1, 1), torch.inf), [[[0]]], "sample 4: the network's output is NaN or"),
        (torch.zeros(1, 3), [0], r"miou takes outputs \(batch, classes, height, width\)"),
        (torch.zeros(1, 3, 2, 2), [[[0]]], r"found \(1, 3, 2, 2\) and \(1, 1, 1\)"),
    ],
)
def test_what_means_nothing_is_told(outputs: torch.Tensor, targets: Any, told: str) -> None:
    accumulator = MeanIoU().start()
    accumulator.update(torch.zeros(4, 3, 2, 2), torch.zeros(4, 2, 2).long())
    with pytest.raises(ticketkit.EvaluationError, match=told):
        accumulator.update(outputs, torch.tensor(targets))


def test_where_no_pixel_has_a_class_there_is_no_mean() -> None:
    accumulator = MeanIoU().start()
    for _ in range(2):
        with pytest.raises(ticketkit.EvaluationError, match="miou: there is no pixel with a class"):
            accumulator.compute()
        accumulator.update(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 255))
