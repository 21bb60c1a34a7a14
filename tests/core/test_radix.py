"""Order by bits, against NumPy's sorting."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ticketkit import radix
from ticketkit.radix import ascending, keys_of, kth_highest

DTYPES = [np.float32, np.float64]


def columns(dtype: type) -> st.SearchStrategy[list[np.ndarray[Any, Any]]]:
    width = 8 * np.dtype(dtype).itemsize
    numbers = st.floats(allow_nan=False, width=width)  # type: ignore[arg-type]
    few = st.sampled_from([0.0, -0.0, 1.5, -1.5, float("inf"), -float("inf")])
    arrays = hnp.arrays(dtype, st.integers(0, 40), elements=st.one_of(numbers, few))
    return st.lists(arrays, min_size=1, max_size=5).filter(lambda a: sum(map(len, a)) > 0)


@pytest.mark.parametrize("few", [0, radix._FEW])
@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_the_kth_highest_is_that_of_a_sort(dtype: type, few: int, data: st.DataObject) -> None:
    found = data.draw(columns(dtype))
    ranked = np.sort(np.concatenate(found))[::-1]
    k = data.draw(st.integers(1, len(ranked)))
    with mock.patch.object(radix, "_FEW", few):
        highest = kth_highest(found, k)
    assert highest.dtype == dtype
    assert highest == ranked[k - 1]


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_keys_are_in_the_order_of_the_numbers(dtype: type, data: st.DataObject) -> None:
    numbers = np.concatenate(data.draw(columns(dtype)))
    order = np.argsort(keys_of(numbers), kind="stable")
    assert (numbers[order] == np.sort(numbers)).all()
    assert (numbers[ascending(numbers)] == np.sort(numbers)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_columns_are_read_in_pieces(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radix, "_BATCH", 64)
    monkeypatch.setattr(radix, "_FEW", 0)
    generator = np.random.default_rng(0)
    lengths = (1, 200, 0, 63, 64, 1000)
    found: list[Any] = [generator.standard_normal(n).astype(dtype) for n in lengths]
    ranked = np.sort(np.concatenate(found))[::-1]
    for k in (1, 2, 700, len(ranked)):
        assert kth_highest(found, k) == ranked[k - 1]


@settings(max_examples=20)
@given(st.integers(1, 5))
def test_equal_numbers_have_one_rank(k: int) -> None:
    assert kth_highest([np.full(5, -2.5, np.float32)], k) == -2.5
