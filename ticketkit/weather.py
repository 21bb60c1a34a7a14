"""Common corruptions that are weather; see `noises` for what all take.

There is no frost: it takes photographs of frost.
"""

from __future__ import annotations

import numpy as np

from ticketkit.blurs import enlarged, smeared
from ticketkit.noises import Array, Lots

_LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue weigh in grey: ITU-R BT.601."""


def snow(
    pictures: Array,
    lots: Lots,
    mean: float,
    spread: float,
    zoom: float,
    threshold: float,
    radius: float,
    scale: float,
    kept: float,
) -> Array:
    """Let it snow: flakes that fall, over a picture that is whitened.

    Flakes are normal noise of this mean and standard deviation, enlarged by `zoom`, without what is
    below the threshold, and smeared downwards (see `blurs.smeared`); they fall twice, the other
    time turned by half a circle. Of the picture this share is kept, the rest is it or its lighter
    grey, whatever is brighter. Grey is the mean of channels where they are not three.
    """
    shape = (1, *pictures.shape[-2:])
    flakes: Array = np.stack([lot.normal(mean, spread, shape) for lot in lots])
    flakes = enlarged(flakes, zoom)
    flakes = np.where(flakes < threshold, 0, flakes.clip(0, 1))
    pairs = zip(flakes, lots, strict=True)
    falling = np.stack([smeared(f, radius, scale, lot.uniform(-135, -45)) for f, lot in pairs])
    white = np.maximum(pictures, 1.5 * _grey(pictures) + 0.5)
    found: Array = kept * pictures + (1 - kept) * white + falling + falling[..., ::-1, ::-1]
    return found


def fog(pictures: Array, lots: Lots, strength: float, decay: float) -> Array:
    """Add this much of a cloud, and scale down to what was the highest value."""
    height, width = pictures.shape[-2:]
    side = 1 << (max(height, width) - 1).bit_length()
    clouds = np.stack([plasma(side, decay, lot)[None, :height, :width] for lot in lots])
    highest: Array = pictures.max((1, 2, 3), keepdims=True)
    return (pictures + strength * clouds) * (highest / (highest + strength))


def plasma(side: int, decay: float, lot: np.random.Generator) -> Array:
    """A cloud, (side, side), from 0 to 1: the diamond-square algorithm on a torus.

    `side` is a power of two. Each halving of the grid's step fills in means of four neighbours and
    uniform noise, which a step later is weaker by `decay` squared.
    """
    found: Array = np.zeros((side, side))
    step, noise = side, 1.0
    while step > 1:
        half, corners = step // 2, found[::step, ::step]
        below, right = np.roll(corners, -1, 0), np.roll(corners, -1, 1)
        drawn = noise * lot.uniform(-1, 1, (3, *corners.shape))
        centres = (corners + below + right + np.roll(below, -1, 1)) / 4 + drawn[0]
        found[half::step, half::step] = centres
        found[::step, half::step] = (corners + right + centres + np.roll(centres, 1, 0)) / 4
        found[half::step, ::step] = (corners + below + centres + np.roll(centres, 1, 1)) / 4
        found[::step, half::step] += drawn[1]
        found[half::step, ::step] += drawn[2]
        step, noise = half, noise / decay**2
    found -= found.min()
    found /= found.max()
    return found


def brightness(pictures: Array, lots: Lots, more: float) -> Array:
    """Raise the value of each pixel in HSV, its highest channel, up to 1; hue and saturation stay.

    All channels of a pixel grow in proportion, and black becomes grey.
    """
    value: Array = pictures.max(1, keepdims=True)
    brighter = np.minimum(value + more, 1)
    black = value == 0
    return np.where(black, brighter, pictures * (brighter / np.where(black, 1, value)))


def _grey(pictures: Array) -> Array:
    weights = _LUMA if pictures.shape[1] == len(_LUMA) else None
    found: Array = np.average(pictures, axis=1, weights=weights)
    return found[:, None]
