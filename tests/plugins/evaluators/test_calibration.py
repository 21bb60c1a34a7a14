"""Evaluator `calibration`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

import ticketkit
from ticketkit.testing import EvaluatorLaws
from ticketkit_plugins.evaluators.calibration import Calibration

LAW = settings(deadline=None, max_examples=30)


class TestCalibration(EvaluatorLaws):
    part = Calibration()


def measured(
    outputs: torch.Tensor, targets: torch.Tensor, batch: int = 7, bins: int = 15
) -> ticketkit.Figures:
    accumulator = Calibration(bins).start()
    for at in range(0, len(outputs), batch):
        accumulator.update(outputs[at : at + batch], targets[at : at + batch])
    return accumulator.compute()


def samples(count: int, classes: int, seed: int, scale: float = 2.0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    outputs = scale * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return outputs, torch.randint(classes, (count,), generator=generator)


@LAW
@given(
    st.integers(1, 60),
    st.integers(2, 9),
    st.integers(1, 80),
    st.integers(1, 20),
    st.integers(0, 99),
)
def test_it_is_torchmetrics_and_scikit_learns_whatever_the_batches(
    count: int, classes: int, batch: int, bins: int, seed: int
) -> None:
    outputs, targets = samples(count, classes, seed)
    found = measured(outputs, targets, batch, bins)
    theirs = multiclass_calibration_error(
        outputs.softmax(1), targets, num_classes=classes, n_bins=bins, norm="l1"
    )
    assert found["ece"].value == pytest.approx(theirs.item(), abs=1e-6)
    theirs = log_loss(targets, outputs.softmax(1), labels=range(classes))
    assert found["nll"].value == pytest.approx(theirs)
    assert {figure.n for figure in found.values()} == {count}
    assert {figure.better for figure in found.values()} == {"lower"}


def guo(outputs: torch.Tensor, targets: Any) -> float:
    """The sum over bins that hold their upper end, as Guo et al. write it."""
    confidence, answers = outputs.softmax(1).max(1)
    total = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            right = (answers == targets)[inside].double().mean()
            total += inside.double().mean().item() * abs(right - confidence[inside].mean()).item()
    return total


@LAW
@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 99))
def test_it_is_guos_sum_over_bins(count: int, classes: int, seed: int) -> None:
    outputs, targets = samples(count, classes, seed)
    assert measured(outputs, targets)["ece"].value == pytest.approx(guo(outputs, targets))


def test_a_confidence_on_the_border_of_two_bins_belongs_to_the_lower_one() -> None:
    # Confidences 1/2, right, and 3/4, wrong: in (0, 1/2] and (1/2, 1] they do not cancel.
    outputs = torch.tensor([[0.5, 0.5], [0.75, 0.25]]).log()
    found = measured(outputs, torch.tensor([0, 1]), bins=2)
    assert found["ece"].value == pytest.approx((0.5 + 0.75) / 2)


def test_logits_are_logits_though_they_lie_between_0_and_1() -> None:
    outputs, targets = torch.tensor([[0.9, 0.1]] * 4), torch.tensor([0, 0, 0, 1])
    confidence = 1 / (1 + math.exp(-0.8))
    assert measured(outputs, targets)["ece"].value == pytest.approx(
        abs(0.75 - confidence), abs=1e-7
    )


def test_a_certain_mistake_costs_its_margin_and_not_infinity() -> None:
    outputs = torch.tensor([[3e4, -3e4]], dtype=torch.float32)
    found = measured(outputs, torch.tensor([1]))
    assert (found["nll"].value, found["nll"].low) == (6e4, None)
    assert (found["ece"].value, found["ece"].low, found["ece"].high) == (1, None, None)


def test_intervals_are_students_and_the_bootstraps() -> None:
    outputs, targets = samples(300, 4, 1)
    found = measured(outputs, targets)
    losses = torch.nn.functional.cross_entropy(outputs, targets, reduction="none").numpy()
    expected = scipy.stats.t.interval(0.95, 299, losses.mean(), scipy.stats.sem(losses))
    assert (found["nll"].low, found["nll"].high) == pytest.approx(expected)
    lots, again = np.random.default_rng(5), []
    for _ in range(400):
        chosen = lots.integers(300, size=300)
        again.append(guo(outputs[chosen], targets[chosen]))
    high = np.quantile(again, 0.975)
    ends = (2 * found["ece"].value - high, high)
    assert (found["ece"].low, found["ece"].high) == pytest.approx(ends, abs=0.01)
    assert measured(outputs, targets, 9) == found


@LAW
@given(st.integers(2, 60), st.integers(2, 5), st.integers(0, 99), st.floats(0, 3))
def test_the_interval_of_the_calibration_error_holds_it_and_is_of_shares(
    count: int, classes: int, seed: int, scale: float
) -> None:
    found = measured(*samples(count, classes, seed, scale))["ece"]
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def overconfident(lots: np.random.Generator, count: int, shift: float) -> Any:
    """Logits of two classes, labels whose odds are less by `shift`; confidences, their truths."""
    odds = np.abs(lots.normal(1.5, 1, count))
    truth = 1 / (1 + np.exp(shift - odds))
    labels = torch.from_numpy((lots.random(count) >= truth).astype(np.int64))
    outputs = torch.from_numpy(np.stack([odds, np.zeros(count)], 1))
    return outputs, labels, 1 / (1 + np.exp(-odds)), truth


@pytest.mark.parametrize(("count", "shift"), [(300, 0.5), (2000, 0.1)])
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
    assert covered >= 90  # by the percentiles themselves, 40 where networks are nearly calibrated


# Fault row 44
@pytest.mark.parametrize(
    ("outputs", "targets", "told"),
    [
        (torch.zeros(2, 3), [0, 3], "sample 7: label 3 is out of range: the network has 3 classes"),
        (
            torch.full((2, 3), torch.inf),
            [0, 1],
            "sample 6: the network's output is NaN or infinite",
        ),
        (torch.zeros(2, 3, 1), [[0], [1]], r"calibration takes outputs \(batch, classes\)"),
    ],
)
def test_what_means_nothing_is_told(outputs: torch.Tensor, targets: Any, told: str) -> None:
    accumulator = Calibration().start()
    accumulator.update(torch.zeros(6, 3), torch.zeros(6).long())
    with pytest.raises(ticketkit.EvaluationError, match=told):
        accumulator.update(outputs, torch.tensor(targets))


def test_no_sample_and_no_bin_are_refused() -> None:
    with pytest.raises(ticketkit.EvaluationError, match="calibration: there is no sample"):
        Calibration().start().compute()
    with pytest.raises(ticketkit.UsageError, match="calibration: bins is a whole number from 1"):
        Calibration(0)
