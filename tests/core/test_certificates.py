"""The statistics behind certificates, against closed forms and exact tests."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from ticketkit.certificates import certified_radius, fewest_votes

SIGMA = 0.25
LAW = settings(deadline=None, max_examples=50)
SIGMAS, ALPHAS = st.floats(0.01, 2), st.floats(1e-9, 0.999)


@pytest.mark.parametrize(
    ("votes", "n", "sigma", "radius"),
    [(990, 1000, 0.5, 0.989005), (100, 100, 1.0, 1.500475), (50489, 100_000, 1.0, 0.0)],
)
def test_radii_are_those_of_the_papers_code(
    votes: int, n: int, sigma: float, radius: float
) -> None:
    assert certified_radius(votes, n, sigma=sigma, alpha=0.001) == pytest.approx(radius, abs=5e-7)


@given(st.integers(1, 2000), st.floats(0, 1), SIGMAS, st.floats(1e-6, 0.49))
@LAW
def test_the_bound_is_one_side_of_scipys_exact_interval(
    n: int, share: float, sigma: float, alpha: float
) -> None:
    votes = round(share * n)
    low = binomtest(votes, n).proportion_ci(1 - 2 * alpha, method="exact").low
    expected = sigma * NormalDist().inv_cdf(low) if low > 0.5 else 0.0
    found = certified_radius(votes, n, sigma=sigma, alpha=alpha)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


# Fault row 43
@given(st.integers(1, 10**6), st.floats(0, 1), SIGMAS, ALPHAS)
@LAW
def test_the_radius_grows_with_the_votes_and_with_sigma_and_is_finite(
    n: int, share: float, sigma: float, alpha: float
) -> None:
    votes = min(n - 1, int(share * n))
    fewer = certified_radius(votes, n, sigma=sigma, alpha=alpha)
    more = certified_radius(votes + 1, n, sigma=sigma, alpha=alpha)
    wider = certified_radius(votes + 1, n, sigma=2 * sigma, alpha=alpha)
    assert 0 <= fewer <= more <= wider < math.inf
    assert wider == pytest.approx(2 * more)
    assert certified_radius(n, n, sigma=sigma, alpha=1 - 2**-53) < math.inf


@given(st.integers(1, 3000), st.floats(0, 1), ALPHAS)
@LAW
def test_the_fewest_votes_are_those_at_which_a_radius_is_reached(
    n: int, radius: float, alpha: float
) -> None:
    needed = fewest_votes(radius, n, sigma=SIGMA, alpha=alpha)
    radii = [certified_radius(v, n, sigma=SIGMA, alpha=alpha) for v in (needed - 1, needed)]
    if needed <= n:
        assert radii[1] >= radius
        assert radii[1] > 0
    assert radii[0] < radius or radii[0] == 0
