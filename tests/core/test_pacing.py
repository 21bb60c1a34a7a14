"""The size of batches at which work goes fastest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketkit.pacing import Pace


def sizes(most: int, seconds: Callable[[int], float], batches: int = 60) -> list[int]:
    """The sizes of batches, of which a sample takes so many seconds."""
    pace, found = Pace(most), []
    for _ in range(batches):
        found.append(pace.size)
        pace.took(pace.size, pace.size * seconds(pace.size))
    return found


def test_sizes_double_until_they_are_clearly_slower_and_the_fastest_stays() -> None:
    times = {4: 3.0, 8: 2.0, 16: 1.0, 32: 1.1, 64: 1.15, 128: 1.5}
    found = sizes(4096, times.__getitem__)
    assert found[:18] == [size for size in times for _ in range(3)]
    assert set(found[18:]) == {16}


def test_where_larger_is_faster_the_largest_allowed_stays() -> None:
    assert sizes(100, lambda size: 1 / size)[-1] == 64
    assert sizes(64, lambda size: 1 / size)[-1] == 64


@given(st.integers(1, 300), st.lists(st.floats(0.01, 100), min_size=60, max_size=60))
def test_no_batch_is_larger_than_allowed_whatever_the_times(most: int, times: list[float]) -> None:
    clock = iter(times)
    found = sizes(most, lambda _: next(clock))
    assert 1 <= min(found) <= max(found) <= most


@pytest.mark.parametrize("slow", [0, 1, 2])
def test_a_try_that_was_disturbed_does_not_count(slow: int) -> None:
    times = [1.0] * 60
    times[3 + slow] = 50.0  # of size 8, which is half as slow
    times[:3] = [2.0] * 3
    clock = iter(times)
    assert 16 in sizes(16, lambda _: next(clock))


def test_a_batch_of_another_size_such_as_the_last_one_tells_nothing() -> None:
    pace = Pace(64)
    for _ in range(9):
        pace.took(3, 1.0)
    assert pace.size == 4
