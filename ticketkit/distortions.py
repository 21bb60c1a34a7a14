"""Common corruptions that are digital; see `noises` for what all take."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy import ndimage

from ticketkit.noises import Array, Lots


def contrast(pictures: Array, lots: Lots, factor: float) -> Array:
    """Scale the deviations from each channel's mean."""
    means: Array = pictures.mean((2, 3), keepdims=True)
    return means + factor * (pictures - means)


def elastic_transform(
    pictures: Array, lots: Lots, shift: float, smooth: float, skew: float
) -> Array:
    """Warp each picture: an affine map, then a smooth displacement of each pixel; both bilinear.

    The map moves three points around the centre by up to `skew`. The displacement is uniform noise
    in [-1, 1], blurred by a Gaussian of standard deviation `smooth`, times `shift`. All three are
    shares of the shorter side.
    """
    side = min(pictures.shape[-2:])
    lengths = shift * side, smooth * side, skew * side
    return np.stack([_warped(p, lot, *lengths) for p, lot in zip(pictures, lots, strict=True)])


def _warped(
    picture: Array, lot: np.random.Generator, shift: float, smooth: float, skew: float
) -> Array:
    shape = picture.shape[-2:]
    affine = _affine(shape, lot, skew)
    noise = lot.uniform(-1, 1, (2, *shape))
    moves = [shift * ndimage.gaussian_filter(n, smooth, mode="reflect", truncate=3) for n in noise]
    moved = np.indices(shape) + np.stack(moves)
    first = [ndimage.map_coordinates(c, affine, order=1, mode="mirror") for c in picture]
    return np.stack([ndimage.map_coordinates(c, moved, order=1, mode="reflect") for c in first])


def _affine(shape: tuple[int, ...], lot: np.random.Generator, skew: float) -> Array:
    """Where each pixel comes from, (2, height, width): rows and columns."""
    centre, third = np.array(shape) // 2, min(shape) // 3
    before = centre + third * np.array([[1, 1], [-1, 1], [-1, -1]])
    after = before + lot.uniform(-skew, skew, before.shape)
    back = np.linalg.solve(np.column_stack([after, np.ones(3)]), before)
    found: Array = np.einsum("dhw,de->ehw", np.indices(shape), back[:2])
    found += back[2][:, None, None]
    return found


def pixelate(pictures: Array, lots: Lots, factor: float) -> Array:
    """Shrink by this factor, rounded down to whole pixels, and enlarge: means of boxes, twice."""
    height, width = pictures.shape[-2:]
    small = int(width * factor), int(height * factor)
    found = np.empty_like(pictures)
    for index in np.ndindex(*pictures.shape[:2]):
        channel = Image.fromarray(pictures[index])
        for size in (small, (width, height)):
            channel = channel.resize(size, Image.Resampling.BOX)
        found[index] = channel
    return found


def jpeg_compression(pictures: Array, lots: Lots, quality: float) -> Array:
    """Compress by JPEG at this quality; where channels are not three, each by itself, as grey."""
    whole = np.rint(pictures * 255).astype(np.uint8)
    if whole.shape[1] == 3:
        return np.stack([_through_jpeg(p, int(quality)) for p in whole.transpose(0, 2, 3, 1)])
    return np.stack([np.concatenate([_through_jpeg(c, int(quality)) for c in p]) for p in whole])


def _through_jpeg(picture: Array, quality: int) -> Array:
    """Bytes, (height, width, 3) or (height, width), as channels in [0, 1] after a round trip."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    found = np.array(Image.open(file), dtype=np.float32) / 255
    return found.transpose(2, 0, 1) if found.ndim == 3 else found[None]
