"""Multinomial logistic regression on features, against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import ticketkit
from ticketkit.logistic import fit_logistic


def problem(count: int, width: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, Any]:
    """Features of different means and scales, their classes overlapping, all of them there."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % classes
    means = torch.randn(classes, width, generator=generator)
    features = means[targets] + 2 * torch.randn(count, width, generator=generator)
    scales = 10 ** torch.linspace(-2, 2, width)
    return features * scales + 3 * scales, targets


def probabilities(features: torch.Tensor, fitted: Any) -> torch.Tensor:
    weight, bias = fitted
    found: torch.Tensor = (features.double() @ weight.T + bias).softmax(1)
    return found


@pytest.mark.parametrize("l2", [1e-4, 1e-3, 1.0])
@pytest.mark.parametrize("sizes", [(100, 128, 10), (300, 20, 5), (50, 3, 2)])
def test_it_is_scikit_learns(sizes: tuple[int, int, int], l2: float) -> None:
    features, targets = problem(*sizes)
    scaler = StandardScaler().fit(features.double())
    # Its objective is C times the sum of the cross-entropies plus half the squared norm.
    theirs = LogisticRegression(C=1 / (l2 * len(features)), tol=1e-10, max_iter=20000)
    scaled = scaler.transform(features.double())
    if sizes[2] == 2:  # of two classes it would fit one difference, which is penalised otherwise
        expected = _of_two(scaled, targets.numpy(), l2)
    else:
        expected = theirs.fit(scaled, targets).predict_proba(scaled)
    found = probabilities(features, fit_logistic(features, targets, sizes[2], l2=l2))
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def _of_two(scaled: Any, targets: Any, l2: float) -> Any:
    """Rows w and -w have the squared norm of their difference d = 2 w, halved: half the penalty."""
    theirs = LogisticRegression(C=2 / (l2 * len(scaled)), tol=1e-10, max_iter=20000)
    return theirs.fit(scaled, targets).predict_proba(scaled)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(2, 5), st.integers(0, 99))
def test_at_its_minimum_the_gradient_by_autograd_vanishes(
    count: int, width: int, classes: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, width, generator=generator)
    targets = torch.randint(classes, (count,), generator=generator)
    raw, bias = fit_logistic(features, targets, classes, l2=1e-2)
    wide = features.double()
    scale, centre = wide.std(0, correction=0), wide.mean(0)
    weight = (raw * scale).requires_grad_()
    bias = (bias + raw @ centre).requires_grad_()
    outputs = (wide - centre) / scale @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(outputs, targets) + 5e-3 * weight.square().sum()
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        assert gradient.abs().max() < 1e-7


def test_it_does_not_depend_on_the_features_units_and_gives_the_same_bits() -> None:
    features, targets = problem(200, 10, 4)
    first = fit_logistic(features, targets, 4)
    again = fit_logistic(features, targets, 4)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    moved = features.double() * 64 - 5
    found = probabilities(moved, fit_logistic(moved, targets, 4))
    torch.testing.assert_close(found, probabilities(features, first), rtol=0, atol=1e-8)


def test_a_feature_that_never_varies_has_no_weight() -> None:
    features, targets = problem(60, 4, 3)
    constant = torch.cat([features, torch.full((60, 1), 0.1)], 1)
    weight, bias = fit_logistic(constant, targets, 3)
    assert (weight[:, 4] == 0).all()
    without = fit_logistic(features, targets, 3)
    torch.testing.assert_close(weight[:, :4], without[0])
    torch.testing.assert_close(bias, without[1])


def test_a_class_without_a_sample_is_all_but_never_predicted() -> None:
    features, targets = problem(60, 4, 3)
    with_a_fourth = probabilities(features, fit_logistic(features, targets, 4))
    assert with_a_fourth[:, 3].max() < 1e-6
    expected = probabilities(features, fit_logistic(features, targets, 3))
    torch.testing.assert_close(with_a_fourth[:, :3], expected, rtol=0, atol=1e-5)


def test_one_class_and_one_sample_are_fitted_too() -> None:
    weight, bias = fit_logistic(torch.ones(3, 2), torch.zeros(3).long(), 1)
    assert not weight.any()
    assert not bias.any()
    found = probabilities(torch.ones(1, 2), fit_logistic(torch.ones(1, 2), torch.tensor([2]), 3))
    assert found[0, 2] > 0.999


def test_classes_that_a_hyperplane_parts_are_fitted_too() -> None:
    targets = torch.arange(60) % 3
    features = 1000 * torch.nn.functional.one_hot(targets).float() + torch.arange(60)[:, None] / 60
    found = probabilities(features, fit_logistic(features, targets, 3, l2=1e-6))
    assert torch.equal(found.argmax(1), targets)


@pytest.mark.parametrize(
    ("features", "targets", "options", "kind", "told"),
    [
        (torch.ones(3, 2), [0, 1, 2], {"l2": 0}, ticketkit.UsageError, "a number above 0, found 0"),
        (torch.ones(3, 2), [0, 1, 2], {"l2": torch.inf}, ticketkit.UsageError, "found inf"),
        (torch.ones(3, 2), [0, 1], {}, ticketkit.EvaluationError, r"found \(3, 2\) and \(2,\)"),
        (torch.ones(3), [0, 1, 2], {}, ticketkit.EvaluationError, r"found \(3,\) and \(3,\)"),
        (torch.ones(0, 2), [], {}, ticketkit.EvaluationError, "at least one sample"),
        (torch.ones(3, 2), [0, 1, 3], {}, ticketkit.EvaluationError, "sample 2: label 3 is out of"),
        (torch.ones(3, 2) / 0, [0, 1, 2], {}, ticketkit.EvaluationError, "sample 0: .* NaN or inf"),
    ],
)
def test_what_cannot_be_fitted_is_told(
    features: torch.Tensor, targets: Any, options: Any, kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        fit_logistic(features, torch.tensor(targets), 3, **options)
