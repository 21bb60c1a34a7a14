"""The published parameters of common corruptions."""

from __future__ import annotations

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
