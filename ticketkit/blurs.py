"""Common corruptions that are blurs; see `noises` for what all take."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage

from ticketkit.noises import Array, Lots
from ticketkit.seeds import Integers


def defocus_blur(pictures: Array, lots: Lots, radius: float, softness: float) -> Array:
    """Convolve with a disk, as a lens out of focus does; pictures are mirrored at their edges."""
    kernel = torch.from_numpy(disk(radius, softness).astype(np.float32))
    margin = [len(kernel) // 2] * 4
    padded = torch.nn.functional.pad(torch.from_numpy(pictures), margin, mode="reflect")
    channels = padded.reshape(-1, 1, *padded.shape[2:])
    found: Array = torch.nn.functional.conv2d(channels, kernel[None, None]).numpy()
    return found.reshape(pictures.shape)


def disk(radius: float, softness: float) -> Array:
    """A disk's kernel, (k, k), k odd, whose sum is 1.

    Its edge is softened by a Gaussian of standard deviation `softness` that is cut to 3 x 3 taps,
    or 5 x 5 where the radius is above 8. The authors' program mirrors it at the edge of its window,
    so that their kernels of radius 8 and 10, for photographs, brighten by 1 %: these do not.
    """
    reach = 1 if radius <= 8 else 2
    line = np.arange(-int(radius) - reach, int(radius) + reach + 1)
    found: Array = (line**2 + line[:, None] ** 2 <= radius**2).astype(np.float64)
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * softness**2))
    for axis in (0, 1):
        found = ndimage.correlate1d(found, taps, axis, mode="constant")
    found /= found.sum()
    return found


def glass_blur(pictures: Array, lots: Lots, scale: float, reach: float, rounds: float) -> Array:
    """Let pixels take colours of near ones, as behind frosted glass, between two Gaussian blurs.

    In a round each pixel but those of a margin takes the colour of one that is `reach` rows and
    columns before it at most, and less than `reach` after it. The paper speaks of a shuffle; but in
    the authors' program, and so in their published pictures, the other pixel keeps its own colour.
    """
    blurred = _gaussian(pictures, scale)
    pixels = blurred.reshape(*pictures.shape[:2], -1)
    for picture, lot in zip(pixels, lots, strict=True):
        for _ in range(int(rounds)):
            picture[:] = picture[:, shuffled(pictures.shape[-2:], int(reach), lot)]
    return _gaussian(blurred, scale)


def shuffled(shape: tuple[int, ...], reach: int, lot: np.random.Generator) -> Integers:
    """Whose colour each pixel of a picture, (height, width), has after a round of `glass_blur`.

    Pixels take theirs one by one, from the last to the first. One that takes it from a later pixel
    thus gets what that one has taken before: these chains are followed all at once, by doubling.
    """
    height, width = shape
    places = np.arange(height * width)
    takes = places.copy()
    inner = takes.reshape(shape)[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    rows, columns = lot.integers(-reach, reach, (2, *inner.shape))
    inner += width * rows + columns
    ends = np.maximum(takes, places)
    while (further := ends[ends]).tobytes() != ends.tobytes():
        ends = further
    found: Integers = takes[ends]
    return found


def motion_blur(pictures: Array, lots: Lots, radius: float, scale: float) -> Array:
    """Smear each picture to one side, at an angle between -45 and 45 degrees."""
    pairs = zip(pictures, lots, strict=True)
    return np.stack([smeared(p, radius, scale, lot.uniform(-45, 45)) for p, lot in pairs])


def smeared(picture: Array, radius: float, scale: float, degrees: float) -> Array:
    """The mean of copies of a picture, (..., height, width), that are moved along a line.

    There are 2 radius + 1 copies, a pixel apart; their weights fall as half a Gaussian of standard
    deviation `scale`. Outside the picture its edge goes on. So does ImageMagick, which the authors
    used, but it cuts the result to bytes.
    """
    steps, (height, width) = np.arange(2 * int(radius) + 1), picture.shape[-2:]
    weights = np.exp(-(steps**2) / (2 * scale**2))
    angle, margin = math.radians(degrees), 2 * int(radius)
    rows = np.ceil(steps * math.sin(angle) - 0.5).astype(int) + margin
    columns = np.ceil(steps * math.cos(angle) - 0.5).astype(int) + margin
    around = [(0, 0)] * (picture.ndim - 2) + [(margin, margin)] * 2
    padded, found = np.pad(picture, around, mode="edge"), np.zeros(picture.shape)
    for weight, row, column in zip(weights / weights.sum(), rows, columns, strict=True):
        found += weight * padded[..., row : row + height, column : column + width]
    return found


def zoom_blur(pictures: Array, lots: Lots, end: float, step: float) -> Array:
    """The mean of each picture and of enlarged ones, from 1 times to below `end` times.

    As in the authors' program, rounding may let `end` itself in.
    """
    factors = np.arange(1, end, step)
    return (pictures + sum(enlarged(pictures, f) for f in factors)) / (len(factors) + 1)


def enlarged(pictures: Array, factor: float) -> Array:
    """The centre of each picture, `factor` times as large, bilinear, in the shape of the whole."""
    shape = pictures.shape[-2:]
    crop = [math.ceil(side / factor) for side in shape]
    size = [round(side * factor) for side in crop]
    centre = torch.from_numpy(_centre(pictures, crop))
    found = torch.nn.functional.interpolate(centre, size, mode="bilinear", align_corners=True)
    return _centre(found.numpy(), list(shape))


def _centre(pictures: Array, shape: list[int]) -> Array:
    top, left = ((s - t) // 2 for s, t in zip(pictures.shape[-2:], shape, strict=True))
    return pictures[..., top : top + shape[0], left : left + shape[1]]


def _gaussian(pictures: Array, scale: float) -> Array:
    found: Array = ndimage.gaussian_filter(pictures, scale, mode="nearest", axes=(2, 3))
    return found
