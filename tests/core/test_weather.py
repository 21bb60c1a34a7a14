"""Common corruptions that are weather, against loops and the standard library."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from ticketkit.noises import Array, Lots
from ticketkit.weather import brightness, fog, plasma, snow


def pictures(channels: int = 3, height: int = 12, width: int = 10) -> Array:
    made = np.random.default_rng(0).random((2, channels, height, width))
    return made.astype(np.float32)


def lots() -> Lots:
    return [np.random.default_rng(index) for index in range(2)]


def test_brightness_raises_the_value_of_hsv() -> None:
    made = pictures()
    made[0, :, 0, 0] = 0
    found = brightness(made, lots(), 0.3)
    colours = (each.transpose(0, 2, 3, 1).reshape(-1, 3) for each in (made, found))
    for before, after in zip(*colours, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before.tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.3))
        assert after == pytest.approx(expected, abs=1e-6)


def test_brightness_of_grey_is_a_sum() -> None:
    found = brightness(pictures(1), lots(), 0.2)
    assert found == pytest.approx((pictures(1) + 0.2).clip(0, 1), abs=1e-6)


@pytest.mark.parametrize(("side", "decay"), [(2, 2), (8, 3), (16, 1.4)])
def test_a_cloud_is_the_diamond_square_algorithm_point_by_point(side: int, decay: float) -> None:
    lot, step, noise = np.random.default_rng(5), side, 1.0
    height = np.zeros((side, side))
    while step > 1:
        half, count = step // 2, side // step
        drawn = noise * lot.uniform(-1, 1, (3, count, count))

        def at(row: int, column: int) -> float:
            return float(height[row % side, column % side])

        for i, j in np.ndindex(count, count):
            r, c = i * step + half, j * step + half
            corners = [at(r + a, c + b) for a in (-half, half) for b in (-half, half)]
            height[r, c] = sum(corners) / 4 + drawn[0, i, j]
        for i, j in np.ndindex(count, count):
            for k, (r, c) in ((1, (i * step, j * step + half)), (2, (i * step + half, j * step))):
                around = at(r - half, c) + at(r + half, c) + at(r, c - half) + at(r, c + half)
                height[r, c] = around / 4 + drawn[k, i, j]
        step, noise = half, noise / decay**2
    expected = (height - height.min()) / (height.max() - height.min())
    assert plasma(side, decay, np.random.default_rng(5)) == pytest.approx(expected)


def test_fog_is_a_cloud_added_and_scaled_to_the_highest_value() -> None:
    found = fog(pictures(), lots(), 1.5, 2)
    for picture, foggy, lot in zip(pictures(), found, lots(), strict=True):
        cloud = plasma(16, 2, lot)[:12, :10]
        scale = picture.max() / (picture.max() + 1.5)
        assert foggy == pytest.approx((picture + 1.5 * cloud) * scale)
    assert (fog(0 * pictures(), lots(), 1.5, 2) == 0).all()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_where_no_flake_falls_snow_whitens_the_rest_of_a_picture(channels: int) -> None:
    found = snow(pictures(channels), lots(), 0, 0.1, 1.3, 2, 8, 3, 0.7)
    for picture, white in zip(pictures(channels), found, strict=True):
        red, *others = picture
        mean = picture.mean(0)
        grey = 0.299 * red + 0.587 * others[0] + 0.114 * others[1] if channels == 3 else mean
        expected = 0.7 * picture + 0.3 * np.maximum(picture, 1.5 * grey + 0.5)
        assert white == pytest.approx(expected, abs=1e-6)


def test_flakes_brighten_all_channels_alike_and_look_the_same_upside_down() -> None:
    black = 0 * pictures()
    flakes = snow(black, lots(), 0.3, 0.3, 1, 0.5, 8, 3, 1)
    assert flakes.min() >= 0
    assert flakes.max() > 0
    assert np.array_equal(flakes[:, 0], flakes[:, 2])
    assert flakes == pytest.approx(flakes[..., ::-1, ::-1])
    assert not np.array_equal(flakes[0], flakes[1])
