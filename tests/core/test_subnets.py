"""The mask that scores stand for, against its definition."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.foreign_files import get_subnet
from ticketkit.subnets import cut, removed, schemes


def test_the_count_is_the_floor_of_their_float_product() -> None:
    assert removed(100, 0.1) == 9  # k = 0.9 keeps 91 of 100
    assert removed(1000, 0.93) == 929  # and 1 - 0.93 is not quite 0.07
    assert (removed(7, 0.0), removed(7, 1.0), removed(0, 0.5)) == (0, 7, 0)


@given(st.integers(0, 1000), st.integers(0, 5_000_000))
def test_a_sparsity_removes_what_the_fraction_that_remains_does(thousandths: int, n: int) -> None:
    k = thousandths / 1000
    assert removed(n, float(1 - Decimal(repr(k)))) == int((1 - k) * n)


@settings(deadline=None)
@given(st.data())
def test_a_subnet_is_that_of_the_definition_spread_over_its_grains(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    own = data.draw(st.integers(1, len(shape)))
    ones = data.draw(st.integers(0, len(shape) - own))
    values = st.integers(-4, 4)  # ties are the rule
    size = math.prod(shape[:own])
    flat = data.draw(st.lists(values, min_size=size, max_size=size))
    scores = torch.tensor(flat, dtype=torch.float32).reshape(*shape[:own], *(1,) * ones)
    k = data.draw(st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0]))
    keep, tied = cut("a.scores", scores, shape, float(1 - Decimal(repr(k))))
    expected = get_subnet(scores, k).bool()
    assert keep.equal(expected.reshape(*shape[:own], *(1,) * (len(shape) - own)).expand(shape))
    lost, left = scores[~expected].abs(), scores[expected].abs()
    assert tied == (lost.numel() > 0 and left.numel() > 0 and bool(lost.max() == left.min()))


@pytest.mark.parametrize(
    ("scores", "shape", "expected"),
    [
        ((8, 4, 3, 3), (8, 4, 3, 3), {"unstructured"}),
        ((8, 4, 3), (8, 4, 3, 3), {"row"}),
        ((8, 4), (8, 4, 3, 3), {"kernel"}),
        ((8, 1, 1, 1), (8, 4, 3, 3), {"channel"}),
        ((8, 4), (8, 4, 1, 1), {"unstructured", "row", "kernel"}),
        ((8, 4), (8, 4), {"unstructured", "row", "kernel"}),
        ((8,), (8, 4), {"channel"}),
        ((2, 3, 4), (2, 3, 4, 5, 6), set()),
    ],
)
def test_the_shape_of_the_scores_tells_the_scheme(
    scores: tuple[int, ...], shape: tuple[int, ...], expected: set[str]
) -> None:
    assert schemes(scores, shape) == expected
