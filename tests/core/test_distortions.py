"""Common corruptions that are digital, against Pillow and closed forms."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ticketkit.distortions import contrast, elastic_transform, jpeg_compression, pixelate
from ticketkit.noises import Array, Lots


def pictures(channels: int = 3, height: int = 24, width: int = 20) -> Array:
    """Bytes in [0, 1], smooth enough for JPEG to keep something of them."""
    places = np.linspace(0, 7, 2 * channels * height * width)
    waves = 0.5 + 0.4 * np.sin(places * np.arange(1, 3).repeat(len(places) // 2))
    return (np.rint(waves * 255) / 255).reshape(2, channels, height, width).astype(np.float32)


def lots() -> Lots:
    return [np.random.default_rng(index) for index in range(2)]


def through(picture: Any, quality: int) -> Array:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_contrast_scales_deviations_and_keeps_means() -> None:
    found = contrast(pictures(), lots(), 0.3)
    assert found.mean((2, 3)) == pytest.approx(pictures().mean((2, 3)), abs=1e-6)
    assert found.std((2, 3)) == pytest.approx(0.3 * pictures().std((2, 3)), abs=1e-6)


@pytest.mark.parametrize("quality", [7, 80])
def test_jpeg_is_pillows_own_round_trip(quality: int) -> None:
    found = jpeg_compression(pictures(), lots(), quality)
    for picture, compressed in zip(pictures(), found, strict=True):
        whole = np.rint(picture * 255).astype(np.uint8).transpose(1, 2, 0)
        assert np.array_equal(np.rint(compressed * 255).transpose(1, 2, 0), through(whole, quality))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_jpeg_takes_other_channels_one_by_one(channels: int) -> None:
    found = jpeg_compression(pictures(channels), lots(), 40)
    clean, compressed = pictures(channels).reshape(-1, 24, 20), found.reshape(-1, 24, 20)
    for channel, after in zip(clean, compressed, strict=True):
        whole = np.rint(channel * 255).astype(np.uint8)
        assert np.array_equal(np.rint(after * 255), through(whole, 40))


@pytest.mark.parametrize("factor", [0.25, 0.65, 0.95])
def test_pixelate_is_pillows_of_bytes_to_a_rounding(factor: float) -> None:
    found = pixelate(pictures(), lots(), factor)
    small = int(20 * factor), int(24 * factor)
    for picture, blocky in zip(pictures(), found, strict=True):
        image = Image.fromarray(np.rint(picture * 255).astype(np.uint8).transpose(1, 2, 0))
        box = Image.Resampling.BOX
        expected = np.asarray(image.resize(small, box).resize((20, 24), box)) / 255
        assert blocky.transpose(1, 2, 0) == pytest.approx(expected, abs=1.01 / 255)


def test_pixelate_by_a_whole_factor_is_the_mean_of_each_block() -> None:
    found = pixelate(pictures(), lots(), 0.25)
    means = pictures().reshape(2, 3, 6, 4, 5, 4).mean((3, 5))
    assert found == pytest.approx(means.repeat(4, 2).repeat(4, 3), abs=1e-6)


def test_an_elastic_transform_without_strength_is_none() -> None:
    assert elastic_transform(pictures(), lots(), 0, 0, 0) == pytest.approx(pictures(), abs=1e-6)


def test_its_map_takes_planes_to_planes_and_displacements_bend_them() -> None:
    rows, columns = np.indices((60, 60)) / 60
    plane = np.stack([rows, columns])[None].repeat(2, 0).astype(np.float32)
    inner = np.s_[:, :, 20:40, 20:40]
    moved = elastic_transform(plane, lots(), 0, 0, 0.05)[inner]
    assert abs(moved - plane[inner]).max() > 0.01
    for axis in (2, 3):
        assert np.diff(moved, n=2, axis=axis) == pytest.approx(0, abs=1e-5)
    bent = elastic_transform(plane, lots(), 0.1, 0.03, 0.05)[inner]
    assert abs(np.diff(bent, n=2, axis=3)).max() > 1e-3


def test_its_map_moves_the_three_points_by_what_was_drawn() -> None:
    rows, columns = np.indices((60, 60))
    plane = np.stack([rows, columns])[None].astype(np.float32)
    (found,) = elastic_transform(plane, lots()[:1], 0, 0, 0.02)
    drawn = np.random.default_rng(0).uniform(-1.2, 1.2, (3, 2))
    for before, move in zip(np.array([[50, 50], [10, 50], [10, 10]]), drawn, strict=True):
        # What lies at the moved point came from the point: read off by the plane's own slope.
        row, column = np.rint(before + move).astype(int)
        slope = np.gradient(found, axis=(1, 2))
        rest = before + move - (row, column)
        value = found[:, row, column] + slope[0][:, row, column] * rest[0]
        value += slope[1][:, row, column] * rest[1]
        assert value == pytest.approx(before, abs=1e-2)
