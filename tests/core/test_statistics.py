"""Intervals, against SciPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import ticketkit
from ticketkit.errors import UsageError
from ticketkit.statistics import auc_interval, bootstrap, mean_interval, median_interval, wilson


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_is_scipys_and_holds_the_share(counts: Any) -> None:
    successes, n = counts
    low, high = wilson(successes, n)
    expected = scipy.stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert low == pytest.approx(expected.low, rel=1e-9, abs=1e-12)
    assert high == pytest.approx(expected.high, rel=1e-9, abs=1e-12)
    assert 0 <= low <= successes / n <= high <= 1


def test_wilsons_interval_ends_where_nothing_and_everything_succeeds() -> None:
    # With no success the upper end is z^2 / (n + z^2).
    z = 1.959963984540054
    low, high = wilson(0, 10)
    assert low == 0
    assert high == pytest.approx(z**2 / (10 + z**2), abs=1e-15)
    low, high = wilson(10, 10)
    assert low == pytest.approx(10 / (10 + z**2), abs=1e-15)
    assert high == 1


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40))
def test_the_interval_of_a_mean_is_scipys(values: list[float]) -> None:
    expected = scipy.stats.t.ppf(0.975, len(values) - 1)
    error = scipy.stats.sem(values)
    mean = sum(values) / len(values)
    wanted = (mean - expected * error, mean + expected * error)
    assert mean_interval(values) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 30, 101, 1000])
def test_the_quantile_of_t_is_scipys_to_nine_digits(n: int) -> None:
    values = [0.0] * (n - 1) + [float(n)]  # mean 1, standard error 1
    low, high = mean_interval(values)
    quantile = float(scipy.stats.t.ppf(0.975, n - 1))
    assert high - 1 == pytest.approx(quantile, rel=1e-9)
    assert 1 - low == pytest.approx(quantile, rel=1e-9)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: wilson(0, 0), "found 0 of 0"),
        (lambda: wilson(3, 2), "found 3 of 2"),
        (lambda: wilson(-1, 2), "found -1 of 2"),
        (lambda: mean_interval([1.0]), "two or more values, found 1"),
        (lambda: mean_interval([1.0, float("nan")]), "a mean needs finite values, found nan"),
        (lambda: mean_interval([1.0, float("inf")]), "a mean needs finite values, found inf"),
        (lambda: median_interval([1.0, float("nan")] * 9), "a median needs finite .* found nan"),
        (lambda: bootstrap(lambda chosen: float("nan"), 3), "a statistic needs .* found nan"),
        (lambda: bootstrap(lambda chosen: 1.0 if chosen.any() else float("inf"), 3), "found inf"),
        (lambda: bootstrap(lambda chosen: 0.0, 0), "needs one sample or more, found 0"),
    ],
)
def test_what_has_no_interval_is_told(ask: Callable[[], object], told: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=told):
        ask()


@pytest.mark.parametrize("seed", [0, 1])
def test_a_bootstrap_is_scipys_of_percentiles(seed: int) -> None:
    values = np.random.default_rng(seed).exponential(size=200)
    ours = bootstrap(lambda chosen: values[chosen].mean(), 200, seed=seed)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.02)
    assert ours == bootstrap(lambda c: values[c].mean(), 200, seed=seed)


def test_a_bootstrap_of_a_constant_is_a_point() -> None:
    assert bootstrap(lambda chosen: float(len(chosen)), 7) == (7, 7)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=200))
def test_the_interval_of_a_median_takes_the_narrowest_order_statistics_that_cover(
    values: list[float],
) -> None:
    n = len(values)
    # The least k at which more than the tail lies at or below k: k - 1 and fewer are within it.
    k = next(k for k in range(n + 1) if scipy.stats.binom.cdf(k, n, 0.5) > 0.025)
    if not k:
        with pytest.raises(ticketkit.UsageError, match=f"needs six or more values, found {n}"):
            median_interval(values)
        return
    assert median_interval(values) == (sorted(values)[k - 1], sorted(values)[-k])


def test_six_values_are_the_fewest_that_have_an_interval_of_their_median() -> None:
    assert median_interval([3.0, 1, 2, 6, 5, 4]) == (1, 6)
    with pytest.raises(ticketkit.UsageError, match="needs six or more values, found 5"):
        median_interval([1.0, 2, 3, 4, 5])


@pytest.mark.parametrize("n", [1023, 1024, 1100, 10_000])
def test_the_median_of_any_number_of_values_has_an_interval(n: int) -> None:
    k = int(scipy.stats.binom.ppf(0.025, n, 0.5))
    assert median_interval(list(range(1, n + 1))) == (k, n + 1 - k)


@given(st.floats(0, 1), st.integers(1, 500), st.integers(1, 500))
def test_the_interval_of_an_area_solves_newcombes_equation(auc: float, n: int, m: int) -> None:
    low, high = auc_interval(auc, n, m)
    assert 0 <= low <= auc <= high <= 1
    for end in {low, high} - {0.0, 1.0}:
        half = (n + m) / 2 - 1
        variance = end * (1 - end) / (n * m)
        variance *= 1 + half * (1 - end) / (2 - end) + half * end / (1 + end)
        assert (auc - end) ** 2 == pytest.approx(1.959964**2 * variance, abs=1e-6)
    assert auc_interval(1 - auc, m, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize(("n", "m", "shift"), [(40, 40, 1.0), (60, 25, 2.0)])
def test_the_interval_of_an_area_covers_it_in_95_of_100_cases(n: int, m: int, shift: float) -> None:
    lots = np.random.default_rng(0)
    truth, covered = scipy.stats.norm.cdf(shift / 2**0.5), 0
    for _ in range(400):
        ranks = scipy.stats.rankdata([*(lots.normal(size=n) + shift), *lots.normal(size=m)])
        low, high = auc_interval((ranks[:n].sum() - n * (n + 1) / 2) / (n * m), n, m)
        covered += low <= truth <= high
    assert covered >= 0.93 * 400


def test_sets_that_are_apart_altogether_leave_doubt() -> None:
    low, high = auc_interval(1.0, 20, 20)
    assert high == 1 > low > 0.8
    for wrong in ((0.5, 0, 3), (0.5, 3, 0), (1.5, 3, 3)):
        with pytest.raises(UsageError, match="expected an area of 0 to 1 of both sets"):
            auc_interval(*wrong)
