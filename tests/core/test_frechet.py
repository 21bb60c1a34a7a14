"""Frechet's distance: against closed forms, SciPy, torchmetrics and torch-fidelity."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import _compute_fid

import ticketkit
from ticketkit import frechet_distance
from ticketkit.frechet import Moments, distance

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def features(seed: int, n: int = 60, width: int = 7) -> Matrix:
    """Correlated features, one of them a copy of another and one constant, as of dead units."""
    draw = np.random.default_rng(seed)
    found = draw.normal(size=(n, width)) @ draw.normal(size=(width, width)) + draw.normal(
        size=width
    )
    found[:, 1], found[:, 2] = found[:, 0], 3
    return found


def with_moments(mean: Matrix, variances: Matrix, n: int = 64) -> Matrix:
    """Features (n, d) of exactly this mean and a diagonal covariance: of a Hadamard matrix."""
    hadamard = np.ones((1, 1))
    while len(hadamard) < n:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    columns = hadamard[:, 1 : 1 + len(mean)]
    return mean + columns * np.sqrt(variances * (n - 1) / n)


def test_gaussians_without_correlation_have_a_closed_form() -> None:
    a, b = (np.array([0.0, 1, 2, 3]), np.array([1.0, 4, 9, 0])), (np.ones(4), np.full(4, 2.0))
    expected = ((a[0] - b[0]) ** 2 + (np.sqrt(a[1]) - np.sqrt(b[1])) ** 2).sum()
    assert frechet_distance(with_moments(*a), with_moments(*b)) == pytest.approx(expected, 1e-12)


def test_one_feature_by_hand() -> None:
    found = frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]]))
    assert found == pytest.approx(4**2 + (2**0.5 - 8**0.5) ** 2, 1e-14)


def test_it_is_what_a_square_root_of_the_product_gives() -> None:
    a, b = (np.random.default_rng(i).normal(size=(40, 5)) @ np.diag(range(1, 6)) for i in (0, 1))
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(first @ second)
    away = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = away + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected.real, 1e-12)


@pytest.mark.parametrize("n", [5, 8, 300])
def test_others_find_the_same_with_and_without_a_full_rank(n: int) -> None:
    a, b = features(0, n), features(1, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = frechet_distance(a, b)
    tensors = [torch.from_numpy(each) for each in (a, b)]
    told = [fid_features_to_statistics(each) for each in tensors]
    fidelity = fid_statistics_to_metric(*told, verbose=False)["frechet_inception_distance"]
    assert found == pytest.approx(fidelity, 1e-6)
    (m1, s1), (m2, s2) = ((each.mean(0), each.T.cov()) for each in tensors)
    assert found == pytest.approx(_compute_fid(m1, s1, m2, s2).item(), 1e-6)


def test_moments_are_numpys_however_the_features_come() -> None:
    whole = features(3, 101) + 1e6  # a sum of squares would lose half its digits here
    moments = Moments()
    for part in np.split(whole, [1, 2, 2, 50, 99]):
        moments.update(torch.from_numpy(part))
    assert (moments.n, moments.width) == (101, 7)
    np.testing.assert_allclose(moments.mean, whole.mean(0), rtol=1e-15)
    expected = np.cov(whole, rowvar=False)
    np.testing.assert_allclose(moments.covariance, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_laws(seed: int, scale: float) -> None:
    a, b = features(seed), features(seed + 1)
    found, size = frechet_distance(a, b), np.cov(a.T).trace() + np.cov(b.T).trace()
    assert found == pytest.approx(frechet_distance(b, a), abs=1e-9 * size)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12 * size)
    assert frechet_distance(a, a + 2) == pytest.approx(4 * 7, abs=1e-9 * size)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(7, 7)))[0]
    moved = frechet_distance(scale * a @ turn + 5, scale * b @ turn + 5)
    assert moved == pytest.approx(scale**2 * found, rel=1e-6, abs=1e-6 * scale**2 * size)
    shuffled = np.random.default_rng(seed).permutation(a)
    assert frechet_distance(shuffled, b) == pytest.approx(found, abs=1e-9 * size)


def test_torch_and_numpy_and_every_number_are_taken() -> None:
    a, b = torch.arange(12).reshape(6, 2) ** 2, torch.ones(5, 2, dtype=torch.bfloat16)
    b[0] = 3
    found = frechet_distance(a, b.requires_grad_())
    assert found == frechet_distance(a.numpy(), b.detach().double().numpy())


def test_few_samples_are_warned_of() -> None:
    a, b = features(0, 7), features(1, 8)
    message = r"7 samples of 7 features: the covariance has rank 6 at most, .* too large"
    with pytest.warns(UserWarning, match=message) as told:
        frechet_distance(a, b)
    assert len(told) == 1
    assert told[0].filename == __file__


# Fault row 45
def test_what_has_no_distance_is_refused() -> None:
    a = features(0)
    for few in (a[:1], a[:0]):
        with pytest.raises(ticketkit.InputError, match=f"two samples or more, found {len(few)}"):
            frechet_distance(a, few)
    with pytest.raises(ticketkit.InputError, match="differ in width: 7 and 6"):
        frechet_distance(a, a[:, :6])
    for odd in (a[0], a[:, :, None], a[:, :0], a.astype(complex), a.astype(str)):
        with pytest.raises(ticketkit.InputError, match=r"numbers of shape \(N, d\), found "):
            frechet_distance(a, odd)
    parts = Moments()
    parts.update(a)
    with pytest.raises(ticketkit.InputError, match="expected 7 features a sample, found 6"):
        parts.update(a[:, :6])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_sample_that_is_not_finite_is_named(bad: float) -> None:
    moments = Moments()
    moments.update(features(0, 10))
    part = features(1, 10)
    part[4, 3] = part[6, 0] = bad
    with pytest.raises(ticketkit.EvaluationError, match=r"sample 14: .* NaN or infinite"):
        moments.update(part)
    assert moments.n == 10


def test_it_stays_near_zero_where_the_covariances_are_of_low_rank_and_equal_but_for_rounding() -> (
    None
):
    draw = np.random.default_rng(0)
    wide = draw.normal(size=(20, 200)) * np.logspace(0, -8, 200)
    turn = np.linalg.qr(draw.normal(size=(200, 200)))[0]
    a, b = Moments(), Moments()
    a.update(wide @ turn)
    b.update((wide[::-1]) @ turn)
    assert distance(a, b) == pytest.approx(0, abs=1e-6)
