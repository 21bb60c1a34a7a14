"""Verdicts, against SciPy's paired t-test and against laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st

from ticketkit.verdicts import comparison, overall

NAMES = ("Robust", "Natural")
# Eighths: sums, differences and shifts of them are exact.
PAIR = st.tuples(*[st.integers(0, 800).map(lambda n: n / 8)] * 2)
UNITS = st.dictionaries(
    st.integers(0, 99).map(str), st.lists(PAIR, min_size=1, max_size=4), min_size=1, max_size=8
)
BETTER = st.sampled_from(["higher", "lower"])


@given(st.lists(PAIR, min_size=3, max_size=12), BETTER)
def test_the_interval_and_verdict_are_those_of_scipys_paired_t_test(
    pairs: list[tuple[float, float]], better: str
) -> None:
    a, b = np.array(pairs).T
    assume(np.ptp(a - b) > 0)
    test = scipy.stats.ttest_rel(a, b)
    low, high = test.confidence_interval(0.95)
    assume(abs(test.pvalue - 0.05) > 1e-9)
    found = comparison({str(i): [pair] for i, pair in enumerate(pairs)}, better, NAMES)
    assert found.difference == pytest.approx(a.mean() - b.mean(), abs=1e-9)
    assert found.interval == pytest.approx((low, high), abs=1e-7)
    better_side = "Robust" if (found.difference > 0) == (better == "higher") else "Natural"
    assert found.verdict == (better_side if test.pvalue < 0.05 else "Match")


@given(UNITS, BETTER)
def test_pairs_that_share_a_seed_count_as_one(units: Any, better: str) -> None:
    means = {seed: [tuple(np.mean(pairs, axis=0))] for seed, pairs in units.items()}
    found, expected = (comparison(each, better, NAMES) for each in (units, means))
    assert len(found.seeds) == len(units)
    assert (found.a, found.b) == pytest.approx((expected.a, expected.b), abs=1e-9)
    assert found.difference == pytest.approx(found.a - found.b, abs=1e-9)
    if found.interval and expected.interval:
        assert found.interval == pytest.approx(expected.interval, abs=1e-7)


@given(UNITS, BETTER)
def test_swapped_sides_negate_the_difference_and_mirror_the_verdict(
    units: Any, better: str
) -> None:
    swapped = {seed: [(b, a) for a, b in pairs] for seed, pairs in units.items()}
    one, other = comparison(units, better, NAMES), comparison(swapped, better, NAMES[::-1])
    assert (one.difference, one.a, one.b) == (-other.difference, other.b, other.a)
    assert one.verdict == other.verdict
    assert (one.interval is None) == (other.interval is None) == (len(units) == 1)
    if one.interval and other.interval:
        assert one.interval == (-other.interval[1], -other.interval[0])


@given(UNITS, BETTER, st.integers(-50, 50), st.randoms())
def test_neither_order_nor_a_shift_of_both_sides_changes_anything(
    units: Any, better: str, shift: int, lots: Any
) -> None:
    items = [(seed, [(a + shift, b + shift) for a, b in pairs]) for seed, pairs in units.items()]
    lots.shuffle(items)
    for _, pairs in items:
        lots.shuffle(pairs)
    one, other = comparison(units, better, NAMES), comparison(dict(items), better, NAMES)
    assert (one.difference, one.interval) == (other.difference, other.interval)
    assert (one.seeds, one.verdict) == (other.seeds, other.verdict)


@given(UNITS)
def test_a_figure_of_which_less_is_better_has_the_other_winner(units: Any) -> None:
    higher, lower = (comparison(units, better, NAMES).verdict for better in ("higher", "lower"))
    others = {"Robust": "Natural", "Natural": "Robust"}
    assert lower == others.get(higher, higher)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(n: int) -> None:
    found = comparison({str(i): [(0.9 + i / 1000, 0.1)] for i in range(n)}, "higher", NAMES)
    assert found.verdict == "undecided"
    assert (found.interval is None) == (n == 1)


def test_many_splits_of_two_seeds_decide_nothing_either() -> None:
    units = {seed: [(0.9, 0.1)] * 5 for seed in "01"}
    assert comparison(units, "higher", NAMES).verdict == "undecided"


@pytest.mark.parametrize(("a", "verdict"), [(0.5, "Match"), (0.75, "Robust"), (0.25, "Natural")])
def test_differences_that_are_all_equal_have_an_interval_without_width(
    a: float, verdict: str
) -> None:
    found = comparison({seed: [(a, 0.5)] for seed in "012"}, "higher", NAMES)
    assert found.interval == (a - 0.5, a - 0.5)
    assert found.verdict == verdict


def test_equal_figures_match_although_their_means_are_rounded() -> None:
    found = comparison({seed: [(0.1, 0.1), (0.7, 0.7)] for seed in "012"}, "higher", NAMES)
    assert (found.difference, found.interval, found.verdict) == (0, (0, 0), "Match")


def test_overall_is_over_seeds_of_the_mean_over_high_sparsities() -> None:
    # At 0.9 and 0.99 alone neither side wins: what one seed gains here, another gains there.
    rows = {
        0.5: {seed: [(0.0, 1.0)] for seed in "012"},
        0.9: {"0": [(4.0, 1.0)], "1": [(2.0, 1.0)], "2": [(1.0, 1.0)]},
        0.99: {"0": [(1.0, 1.0)], "1": [(3.0, 1.0)], "2": [(5.0, 2.0), (3.0, 0.0)]},
    }
    found = comparison(overall(rows), "higher", NAMES)
    assert (found.a, found.b, found.difference) == (2.5, 1.0, 1.5)
    assert (found.interval, found.verdict) == ((1.5, 1.5), "Robust")
    for sparsity in (0.9, 0.99):
        assert comparison(rows[sparsity], "higher", NAMES).verdict == "Match"


def test_overall_leaves_out_a_seed_that_lacks_a_sparsity() -> None:
    whole = {seed: [(1.0, 0.0)] for seed in "0123"}
    part = {seed: pairs for seed, pairs in whole.items() if seed != "3"}
    assert list(overall({0.9: whole, 0.99: part})) == ["0", "1", "2"]
    assert overall({0.9: {"0": whole["0"]}, 0.95: {"1": whole["1"]}}) == {}
    assert overall({0.5: whole, 0.899: whole}) == {}
