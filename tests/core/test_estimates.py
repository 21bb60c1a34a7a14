"""One number that was measured: it cannot hold nonsense."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ticketkit
from ticketkit import Estimate


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (ValueError, {"n": 0}, "n is a whole number from 1 on, found 0"),
        (ValueError, {"n": 2.0}, r"n is a whole number from 1 on, found 2\.0"),
        (ValueError, {"n": True}, "n is a whole number from 1 on, found True"),
        (ValueError, {"n": np.int64(3)}, r"n is a whole number from 1 on, found np\.int64\(3\)"),
        (TypeError, {"value": True}, "value is a number of Python's, found True"),
        (TypeError, {"value": None}, "value is a number of Python's, found None"),
        (TypeError, {"value": "0.5"}, "value is a number of Python's, found '0.5'"),
        (TypeError, {"value": torch.tensor(0.5)}, r"value is a number .*, found tensor\(0\.5000\)"),
        (TypeError, {"value": np.float32(0.5)}, r"value is a number .*, found np\.float32\(0\.5\)"),
        (TypeError, {"low": np.float32(0.5)}, "low is a number of Python's"),
        (ValueError, {"value": math.nan}, "value is a finite number, found nan"),
        (ValueError, {"value": 10**400}, r"value is a finite number, found 1000"),
        (ValueError, {"low": -math.inf}, "low is a finite number, found -inf"),
        (ValueError, {"high": math.inf}, "high is a finite number, found inf"),
        (ValueError, {"low": 0.75, "high": 0.5}, r"low is at most high, found 0\.75 and 0\.5"),
        (TypeError, {"unit": 7}, "unit is a text, such as 'share', found 7"),
        (TypeError, {"unit": None}, "unit is a text, such as 'share', found None"),
        (ValueError, {"better": "up"}, "better is 'higher' or 'lower', found 'up'"),
        (ValueError, {"better": None}, "better is 'higher' or 'lower', found None"),
        (
            ValueError,
            {"value": 93, "unit": "share"},
            "value of a share is from 0 to 1, found 93",
        ),
        (ValueError, {"low": -0.1, "unit": "share"}, r"low of a share is from 0 to 1, found -0\.1"),
        (ValueError, {"high": 1.5, "unit": "share"}, r"high of a share is .*, found 1\.5"),
    ],
)
def test_what_means_nothing_is_refused(
    kind: type[Exception], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(kind, match=told):
        Estimate(**{"value": 0.5, "n": 3, **options})
    with pytest.raises(kind, match=told):
        dataclasses.replace(Estimate(0.5, 3), **options)


@given(
    st.floats(-1e6, 1e6) | st.integers(-9, 9),
    st.lists(st.none() | st.floats(0, 1), min_size=2, max_size=2),
)
def test_what_is_taken_comes_back_from_a_result_file(
    value: float, ends: list[float | None]
) -> None:
    low, high = ends
    if low is not None and high is not None and low > high:
        low, high = high, low
    found = Estimate(value, 7, low, high, "ms", "lower")  # the value may lie outside
    assert Estimate(**json.loads(json.dumps(dataclasses.asdict(found)))) == found


@given(st.integers(1, 10**12), st.floats(0, 1))
def test_a_share_has_wilsons_interval(n: int, part: float) -> None:
    successes = min(n, int(part * n))
    found = Estimate.share(successes, n)
    assert (found.value, found.n) == (successes / n, n)
    assert (found.low, found.high) == ticketkit.wilson(successes, n)
    assert (found.unit, found.better) == ("share", "higher")
    assert Estimate.share(successes, n, better="lower").better == "lower"


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ticketkit.UsageError, match="found 0 of 0"):
        Estimate.share(0, 0)
