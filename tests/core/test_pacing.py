"""The size of batches at which work goes fastest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticketkit.pacing import Pace


def sizes(most: int, seconds: Callable[[int], float], batches: int = 150) -> list[int]:
    """The sizes of batches, of which a sample takes so many seconds."""
    pace, found = Pace(most), []
    for _ in range(batches):
        found.append(pace.size)
        pace.took(pace.size, pace.size * seconds(pace.size))
    return found


def test_sizes_join_until_one_is_clearly_slower_and_the_fastest_stays() -> None:
    times = {4: 3.0, 8: 2.0, 16: 1.0, 32: 1.1, 64: 1.15, 128: 1.5}
    found = sizes(4096, times.__getitem__)
    joining = [size for last in range(5) for size in list(times)[: last + 1]]
    assert found[:15] == joining
    assert found[15:51] == 6 * list(times)
    assert set(found[51:]) == {16}


@pytest.mark.parametrize("most", [64, 100, 127])
def test_where_larger_is_faster_the_largest_allowed_stays(most: int) -> None:
    assert sizes(most, lambda size: 1 / size)[-1] == 64


@given(st.integers(1, 300), st.lists(st.floats(0.01, 100), min_size=60, max_size=60))
@settings(deadline=None, max_examples=30)
def test_no_batch_is_larger_than_allowed_whatever_the_times(most: int, times: list[float]) -> None:
    clock = iter(times)
    found = sizes(most, lambda _: next(clock), 60)
    assert 1 <= min(found) <= max(found) <= most


def test_first_tries_that_warm_up_and_moments_that_are_slow_do_not_count() -> None:
    times = {4: 3.0, 8: 2.0, 16: 1.0, 32: 1.5}
    calls = Counter[int]()

    def seconds(size: int) -> float:
        calls[size] += 1
        return times[size] * (9 if calls[size] in (1, 5) else 1)

    assert sizes(4096, seconds)[-1] == 16


def test_a_batch_of_another_size_such_as_the_last_one_tells_nothing() -> None:
    pace = Pace(64)
    for _ in range(99):
        pace.took(3, 1.0)
    assert pace.size == 4
