"""Common corruptions that are blurs, against SciPy and loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ticketkit.blurs import (
    defocus_blur,
    disk,
    enlarged,
    glass_blur,
    motion_blur,
    shuffled,
    smeared,
    zoom_blur,
)
from ticketkit.noises import Array, Lots

SIDES = st.integers(8, 20)
LAW = settings(deadline=None, max_examples=30)


def pictures(count: int = 2, height: int = 30, width: int = 26, channels: int = 3) -> Array:
    made = np.random.default_rng(0).random((count, channels, height, width))
    return made.astype(np.float32)


def lots(count: int = 2) -> Lots:
    return [np.random.default_rng(index) for index in range(count)]


@pytest.mark.parametrize(("radius", "softness"), [(0.3, 0.4), (1.5, 0.1), (3, 0.1), (10, 0.5)])
def test_defocus_is_a_convolution_with_the_disk(radius: float, softness: float) -> None:
    found, kernel = defocus_blur(pictures(), lots(), radius, softness), disk(radius, softness)
    for picture, blurred in zip(
        pictures().reshape(-1, 30, 26), found.reshape(-1, 30, 26), strict=True
    ):
        expected = ndimage.convolve(picture, kernel, mode="mirror")
        assert blurred == pytest.approx(expected, abs=1e-5)


def test_a_disk_holds_what_lies_within_its_radius_and_keeps_the_light() -> None:
    # So sharp an edge stays as it is: 9 cells within 1.5, 29 within 3.
    for radius, cells in ((1.5, 9), (3, 29)):
        kernel = disk(radius, 0.1)
        assert (kernel > 1e-12).sum() == cells
        assert kernel.max() == pytest.approx(1 / cells)
    for radius, softness in ((0.3, 0.4), (8, 0.5), (10, 0.5)):
        kernel = disk(radius, softness)
        assert kernel.sum() == pytest.approx(1)
        assert np.array_equal(kernel, kernel[::-1, ::-1])
    # A point with an edge of one Gaussian tap on each side.
    tap = math.exp(-1 / (2 * 0.4**2))
    row = np.array([tap, 1, tap]) / (1 + 2 * tap)
    assert disk(0.3, 0.4) == pytest.approx(np.outer(row, row))


@LAW
@given(SIDES, SIDES, st.integers(1, 3), st.integers(0, 99))
def test_the_shuffle_behind_glass_is_the_loop_over_pixels(
    height: int, width: int, reach: int, seed: int
) -> None:
    found = shuffled((height, width), reach, np.random.default_rng(seed))
    inner = height - 2 * reach, width - 2 * reach
    moves = np.random.default_rng(seed).integers(-reach, reach, (2, *inner))
    source = np.arange(height * width).reshape(height, width)
    for row in range(height - reach, reach, -1):
        for column in range(width - reach, reach, -1):
            down, right = moves[:, row - reach - 1, column - reach - 1]
            source[row, column] = source[row + down, column + right]
    assert np.array_equal(found, source.ravel())


def test_glass_leaves_what_is_uniform_and_mixes_colours_whole() -> None:
    flat = np.full((2, 3, 12, 12), 0.4, np.float32)
    assert glass_blur(flat, lots(), 0.4, 1, 2) == pytest.approx(flat)
    found = glass_blur(pictures(), lots(), 0.05, 1, 2)  # too little a blur to be one
    colours = {tuple(colour) for colour in pictures()[0].reshape(3, -1).T}
    assert {tuple(colour) for colour in found[0].reshape(3, -1).T} <= colours
    assert not np.array_equal(found, pictures())


def test_glass_blurs_before_and_after() -> None:
    blurred = ndimage.gaussian_filter(pictures()[0], (0, 0.7, 0.7), mode="nearest")
    source = [shuffled((30, 26), 1, lot) for lot in lots(1) for _ in range(1)]
    mixed = blurred.reshape(3, -1)[:, source[0]].reshape(3, 30, 26)
    expected = ndimage.gaussian_filter(mixed, (0, 0.7, 0.7), mode="nearest")
    assert glass_blur(pictures(1), lots(1), 0.7, 1, 1)[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("degrees", "step"), [(0, (0, 1)), (-90, (-1, 0)), (45, None)])
def test_a_smear_is_a_line_whose_weights_fall_as_half_a_gaussian(degrees: int, step: Any) -> None:
    point = np.zeros((41, 41))
    point[20, 20] = 1
    found = smeared(point, 5, 2.0, degrees)
    assert found.sum() == pytest.approx(1)
    weights = np.exp(-(np.arange(11) ** 2) / 8)
    weights /= weights.sum()
    if step is None:
        rows, columns = found.nonzero()
        assert np.array_equal(rows, columns)
    else:
        line = [found[20 - step[0] * k, 20 - step[1] * k] for k in range(11)]
        assert line == pytest.approx(weights)


def test_motion_smears_each_picture_at_an_angle_of_its_own_within_45_degrees() -> None:
    points = np.zeros((40, 1, 41, 41), np.float32)
    points[..., 20, 20] = 1
    found = motion_blur(points, lots(40), 6, 3)[:, 0]
    assert found.sum((1, 2)) == pytest.approx(np.ones(40))
    ahead = (np.arange(41) - 20)[None]
    across = (found.sum(1) * ahead).sum(1), (found.sum(2) * ahead).sum(1)
    assert (across[0] < -1).all()
    assert (abs(across[1]) <= 0.6 - across[0]).all()
    assert len(np.unique(across[1].round(3))) > 10
    assert across[1].min() < 0 < across[1].max()


@LAW
@given(SIDES, SIDES, st.floats(1, 4.5))
def test_an_enlarged_centre_is_scipys_zoom(height: int, width: int, factor: float) -> None:
    picture = pictures(1, height, width, 1)
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    crop = picture[0, 0, top : top + rows, left : left + columns]
    zoomed = ndimage.zoom(crop, factor, order=1)
    top, left = (zoomed.shape[0] - height) // 2, (zoomed.shape[1] - width) // 2
    expected = zoomed[top : top + height, left : left + width]
    assert enlarged(picture, factor)[0, 0] == pytest.approx(expected, abs=1e-5)


def test_a_zoom_blur_is_the_mean_of_the_picture_and_its_zooms() -> None:
    zooms = [enlarged(pictures(), factor) for factor in (1, 1.02, 1.04)]
    expected = (pictures() + sum(zooms)) / 4
    assert zoom_blur(pictures(), lots(), 1.05, 0.02) == pytest.approx(expected)
    flat = np.full((1, 1, 9, 9), 0.3, np.float32)
    assert zoom_blur(flat, lots(1), 1.26, 0.01) == pytest.approx(flat)
