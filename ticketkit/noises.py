"""Common corruptions that are noise.

Here as in `blurs`, `weather` and `distortions`, pictures are (n, channels, height, width), float32
in [0, 1]. Each has a generator of its own among the `lots`, and what comes out may leave [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Lots = Sequence[np.random.Generator]


def gaussian_noise(pictures: Array, lots: Lots, scale: float) -> Array:
    """Add to each value a normal one of standard deviation `scale`."""
    return np.stack([p + lot.normal(scale=scale, size=p.shape) for p, lot in _each(pictures, lots)])


def shot_noise(pictures: Array, lots: Lots, photons: float) -> Array:
    """Count the light: white is `photons` on average, and every count is Poisson's."""
    return np.stack([lot.poisson(p * photons) / photons for p, lot in _each(pictures, lots)])


def impulse_noise(pictures: Array, lots: Lots, share: float) -> Array:
    """Replace this share of all values by salt or pepper, 1 or 0, as often the one as the other."""
    found = pictures.copy()
    for picture, lot in _each(found, lots):
        drawn = lot.random(picture.shape)
        picture[drawn < share] = 0
        picture[drawn < share / 2] = 1
    return found


def _each(pictures: Array, lots: Lots) -> zip[tuple[Array, np.random.Generator]]:
    return zip(pictures, lots, strict=True)
