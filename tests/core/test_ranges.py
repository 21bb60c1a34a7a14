"""The range that an option may come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.core import broken
from ticketkit import UsageError, check_whole


@dataclass(frozen=True)
class Sized(broken.Criterion):
    size: Any = 1


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_whole_number_in_the_range_passes(size: int) -> None:
    check_whole(Sized(size), "size", 2, 7)


@pytest.mark.parametrize("size", [1, 8, 2.0, True, "3", None, float("nan")])
def test_anything_else_is_refused_with_the_range(size: object) -> None:
    with pytest.raises(UsageError, match="absolute: size is a whole number from 2 to 7, found"):
        check_whole(Sized(size), "size", 2, 7)


def test_a_range_without_an_end_is_told_without_it() -> None:
    with pytest.raises(UsageError, match="absolute: size is a whole number from 2, found 0"):
        check_whole(Sized(0), "size", 2)
