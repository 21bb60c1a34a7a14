"""Evaluator `calibration`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torchmetrics.functional
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

import ticketkit
from ticketkit.testing import EvaluatorLaws
from ticketkit_plugins.evaluators.calibration import Calibration

LAW = settings(deadline=None, max_examples=25)


class TestCalibration(EvaluatorLaws):
    part = Calibration()


class TestCalibrationInOneBin(EvaluatorLaws):
    part = Calibration(bins=1)


def measured(
    outputs: torch.Tensor, targets: torch.Tensor, batch: int = 64, bins: int = 15
) -> ticketkit.Figures:
    accumulator = Calibration(bins).start()
    for at in range(0, len(outputs), batch):
        accumulator.update(outputs[at : at + batch], targets[at : at + batch])
    return accumulator.compute()


def drawn(
    count: int, classes: int, seed: int, scale: float = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = scale * torch.randn(count, classes, generator=generator)
    return outputs, torch.randint(classes, (count,), generator=generator)


def by_hand(outputs: torch.Tensor, targets: torch.Tensor, bins: int) -> float:
    """The sum of a loop over bins, as the paper writes it."""
    shares = scipy.special.softmax(outputs.double().numpy(), 1)
    right = shares.argmax(1) == targets.numpy()
    total = 0.0
    for m in range(1, bins + 1):
        in_bin = (shares.max(1) > (m - 1) / bins) & (shares.max(1) <= m / bins)
        if in_bin.any():
            gap = abs(right[in_bin].mean() - shares.max(1)[in_bin].mean())
            total += in_bin.mean() * gap
    return total


SAMPLES = st.tuples(st.integers(1, 60), st.integers(2, 12), st.integers(0, 99))


@LAW
@given(SAMPLES, st.integers(1, 80), st.integers(1, 40))
def test_the_calibration_error_is_that_of_a_loop_and_of_torchmetrics(
    samples: tuple[int, int, int], batch: int, bins: int
) -> None:
    outputs, targets = drawn(*samples)
    found = measured(outputs, targets, batch, bins)["ece"]
    assert found.value == pytest.approx(by_hand(outputs, targets, bins), abs=1e-12)
    theirs = torchmetrics.functional.calibration_error(
        outputs.double().softmax(1),
        targets,
        "multiclass",
        n_bins=bins,
        norm="l1",
        num_classes=outputs.shape[1],
    )
    assert found.value == pytest.approx(theirs.item(), abs=1e-5)


@LAW
@given(SAMPLES, st.integers(1, 80))
def test_the_likelihood_is_scikit_learns_with_students_interval(
    samples: tuple[int, int, int], batch: int
) -> None:
    outputs, targets = drawn(*samples)
    found = measured(outputs, targets, batch)["nll"]
    shares = scipy.special.softmax(outputs.double().numpy(), 1)
    theirs = log_loss(targets, shares, labels=range(outputs.shape[1]))
    assert found.value == pytest.approx(theirs)
    if len(targets) == 1:
        assert (found.low, found.high) == (None, None)
    else:
        losses = -np.log(shares[range(len(targets)), targets])
        wanted = scipy.stats.t.interval(
            0.95, len(losses) - 1, losses.mean(), scipy.stats.sem(losses)
        )
        assert (found.low, found.high) == pytest.approx(wanted)
    assert (found.n, found.unit, found.better) == (len(targets), "nats", "lower")


@LAW
@given(SAMPLES)
def test_intervals_hold_what_was_measured(samples: tuple[int, int, int]) -> None:
    for found in measured(*drawn(*samples)).values():
        if found.low is not None:
            assert found.high is not None
            assert 0 <= found.low <= found.value <= found.high or found.unit == "nats"


def test_a_probability_at_the_upper_end_of_a_bin_is_in_it() -> None:
    # Two samples of 1/2 are wrong, one of 0.7 is right: in a bin of their own the two miss by 1,
    # and it by 0.3; were 1/2 in the bin above it, all three would miss by 0.7.
    outputs = torch.tensor([[0, 0], [0, 0], [math.log(7 / 3), 0]]).double()
    found = measured(outputs, torch.tensor([1, 1, 0]), bins=2)["ece"].value
    assert found == pytest.approx((1 + 0.3) / 3)


def test_what_is_all_known_and_all_wrong() -> None:
    sure = 1e3 * torch.eye(3)
    found = measured(sure, torch.tensor([0, 1, 2]))
    assert (found["ece"].value, found["nll"].value) == (0, 0)
    found = measured(sure, torch.tensor([1, 2, 0]))
    assert (found["ece"].value, found["nll"].value) == (1, 1e3)  # -log 0 would be infinite


def test_logits_that_look_like_probabilities_are_logits() -> None:
    outputs = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    found = measured(outputs, torch.tensor([0, 1]))
    assert found["ece"].value == pytest.approx(1 - (0.6899745 + 0.6456563) / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_outputs_are_taken_as_they_are(dtype: torch.dtype) -> None:
    outputs, targets = drawn(50, 4, 0, scale=9)
    narrow = outputs.to(dtype)
    assert measured(narrow, targets) == measured(narrow.double(), targets)


def overconfident(
    lots: np.random.Generator, count: int, shift: float
) -> tuple[torch.Tensor, torch.Tensor, Any, Any]:
    """Two-class logits, and labels whose odds are smaller by `shift`; confidence and its truth."""
    odds = np.abs(lots.normal(1.5, 1, count))
    truth = scipy.special.expit(odds - shift)
    labels = torch.from_numpy((lots.random(count) >= truth).astype(np.int64))
    outputs = torch.from_numpy(np.stack([odds, np.zeros(count)], 1))
    return outputs, labels, scipy.special.expit(odds), truth


@pytest.mark.parametrize(("count", "shift"), [(300, 0.5), (2000, 0.5)])
def test_the_interval_of_the_calibration_error_covers_the_truth(count: int, shift: float) -> None:
    lots = np.random.default_rng(0)
    *_, sure, right = overconfident(lots, 10**6, shift)
    bins = np.ceil(sure * 15).astype(int)
    truth = np.abs(np.bincount(bins, right - sure)).sum() / 10**6
    covered = 0
    for _ in range(100):
        outputs, labels, *_ = overconfident(lots, count, shift)
        found = measured(outputs, labels, count)["ece"]
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert covered >= 90


@pytest.mark.parametrize(
    ("outputs", "targets", "told"),
    [
        (torch.zeros(2, 3), [0, 3], "sample 7: label 3 is out of range: the network has 3 classes"),
        (torch.full((2, 3), torch.nan), [0, 1], "sample 6: the network's output is NaN"),
        (torch.zeros(2, 3, 1), [[0], [1]], r"calibration takes outputs \(batch, classes\)"),
        (torch.zeros(2, 3), [0], "found"),
    ],
)
def test_what_means_nothing_is_told(outputs: torch.Tensor, targets: Any, told: str) -> None:
    accumulator = Calibration().start()
    accumulator.update(torch.zeros(6, 3), torch.zeros(6).long())
    with pytest.raises(ticketkit.EvaluationError, match=told):
        accumulator.update(outputs, torch.tensor(targets))


def test_of_no_sample_there_is_no_calibration() -> None:
    with pytest.raises(ticketkit.EvaluationError, match="calibration: there is no sample"):
        Calibration().start().compute()


@pytest.mark.parametrize("bins", [0, -1, 1.5])
def test_bins_that_are_none_are_told(bins: Any) -> None:
    with pytest.raises(ticketkit.UsageError, match="bins is a whole number from 1"):
        Calibration(bins)


def test_one_sample_has_a_calibration_error_of_its_own() -> None:
    found = measured(torch.tensor([[math.log(3), 0.0]]), torch.tensor([0]))
    assert found["ece"].value == pytest.approx(0.25)
    assert found["nll"].value == pytest.approx(math.log(4 / 3))
