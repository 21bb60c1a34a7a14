"""The published parameters of common corruptions."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import ticketkit
from ticketkit.severities import LARGE, SMALL, Rows

Published = Mapping[str, tuple[float | tuple[float, ...], ...]]


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


# As the authors' programs have them: imagenet_c/corruptions.py, for pictures of 224 px.
IMAGENET_C: Published = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    # The end and the step of the range of factors.
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "elastic_transform": (
        (244 * 2, 244 * 0.7, 244 * 0.1),
        (244 * 2, 244 * 0.08, 244 * 0.2),
        (244 * 0.05, 244 * 0.01, 244 * 0.02),
        (244 * 0.07, 244 * 0.01, 244 * 0.02),
        (244 * 0.12, 244 * 0.01, 244 * 0.02),
    ),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": (25, 18, 15, 10, 7),
}
# make_cifar_c.py, for pictures of 32 px.
CIFAR_C: Published = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": (500, 250, 100, 75, 50),
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "elastic_transform": (
        (32 * 0, 32 * 0, 32 * 0.08),
        (32 * 0.05, 32 * 0.2, 32 * 0.07),
        (32 * 0.08, 32 * 0.06, 32 * 0.06),
        (32 * 0.1, 32 * 0.04, 32 * 0.05),
        (32 * 0.1, 32 * 0.03, 32 * 0.03),
    ),
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg_compression": (80, 65, 58, 50, 40),
}


@pytest.mark.parametrize("name", ticketkit.CORRUPTIONS)
@pytest.mark.parametrize(
    ("table", "published", "side"), [(LARGE, IMAGENET_C, 224), (SMALL, CIFAR_C, 32)]
)
def test_every_parameter_is_the_published_one(
    table: Mapping[str, Rows], published: Published, side: int, name: str
) -> None:
    rows = [row if isinstance(row, tuple) else (row,) for row in published[name]]
    # Theirs are in pixels, ours in shorter sides.
    unit = side if name == "elastic_transform" else 1
    for ours, theirs in zip(table[name], rows, strict=True):
        assert [unit * value for value in ours] == pytest.approx(theirs, rel=1e-12)
