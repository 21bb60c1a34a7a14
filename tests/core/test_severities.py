"""The published parameters of common corruptions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest

import ticketkit
from ticketkit.severities import LARGE, SMALL, Rows


@pytest.mark.parametrize("table", [LARGE, SMALL])
def test_each_corruption_has_five_rows_which_are_harder_and_harder(
    table: Mapping[str, Rows],
) -> None:
    assert tuple(table) == ticketkit.CORRUPTIONS
    for rows in table.values():
        assert len(rows) == 5
        assert len({len(row) for row in rows}) == 1
        assert len(set(rows)) == 5
    rising = ["gaussian_noise", "impulse_noise", "defocus_blur", "brightness", "zoom_blur"]
    falling = ["shot_noise", "contrast", "pixelate", "jpeg_compression"]
    for name in rising + falling:
        firsts = [row[0] for row in table[name]]
        assert firsts == sorted(firsts, reverse=name in falling)


@pytest.mark.parametrize(
    ("table", "digest"), [(LARGE, "4f74ad5ea81d51cf"), (SMALL, "b99e633a88c7d157")]
)
def test_no_parameter_is_another_than_when_it_was_compared_with_the_published_one(
    table: Mapping[str, Rows], digest: str
) -> None:
    plain = {name: tuple(tuple(map(float, row)) for row in rows) for name, rows in table.items()}
    assert hashlib.sha256(repr(plain).encode()).hexdigest()[:16] == digest
