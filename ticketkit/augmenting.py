"""Augmentation: a sample's change is a function of (seed, epoch, index) alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate, pad
from torch.utils.data import Dataset

from ticketkit.errors import InputError
from ticketkit.losses import IGNORED
from ticketkit.schedules import Schedule
from ticketkit.seeds import Floats, Integers, uniform
from ticketkit.stacking import stacked

_SCALES, _RATIOS = (0.08, 1.0), (3 / 4, 4 / 3)  # of torchvision's RandomResizedCrop
_MAP_SCALES = (0.5, 2.0)  # of the sides, where each pixel has a class: Chen et al. 2017, DeepLab
_MARGIN = 256 / 224  # of the picture that evaluation takes the middle of


def augmented(
    samples: Any, schedule: Schedule, seed: int, epoch: int, indices: Integers
) -> tuple[Any, Any]:
    """The samples at `indices` as one batch (inputs, targets), augmented as the schedule says."""
    if schedule.augment == "none":
        return stacked(samples)
    draws = uniform(seed, epoch, indices, 5)
    if schedule.augment == "shift":
        return _shifted(*stacked(samples), draws)
    pairs = zip(*samples, strict=True) if isinstance(samples, tuple) else samples
    cut = [
        _cropped(image, target, schedule.size, d)
        for (image, target), d in zip(pairs, draws, strict=True)
    ]
    return stacked(cut)


def _centred(image: torch.Tensor, target: Any, size: int) -> tuple[torch.Tensor, Any]:
    """The middle of a picture, `size` pixels a side, as evaluation sees what `crop` trains on."""
    if _is_map(target):  # every pixel counts
        return image, target
    height, width = image.shape[-2:]
    shorter = round(size * _MARGIN)
    scale = shorter / min(height, width)
    resized = _resized(image, (round(height * scale), round(width * scale)))
    top, left = ((side - size) // 2 for side in resized.shape[-2:])
    return resized[..., top : top + size, left : left + size], target


def _shifted(images: torch.Tensor, targets: Any, draws: Floats) -> tuple[torch.Tensor, Any]:
    """Each picture moved by -1, 0 or 1 pixel each way; what comes in is black, or is ignored."""
    moves = torch.from_numpy((draws[:, :2] * 3).astype(np.int64))
    whole = _moved(images, moves, 0)
    return whole, _moved(targets, moves, IGNORED) if _is_map(targets, batch=True) else targets


def _moved(images: torch.Tensor, moves: torch.Tensor, fill: int) -> torch.Tensor:
    height, width = images.shape[-2:]
    padded = pad(images, (1, 1, 1, 1), value=fill)
    rows = moves[:, 0, None] + torch.arange(height)
    columns = moves[:, 1, None] + torch.arange(width)
    batch = torch.arange(len(images))[:, None, None]
    picked = padded.movedim((-2, -1), (1, 2))[batch, rows[:, :, None], columns[:, None, :]]
    return picked.movedim((1, 2), (-2, -1)).contiguous()


def _cropped(image: torch.Tensor, target: Any, size: int, draw: Floats) -> tuple[torch.Tensor, Any]:
    """A random part of a picture, resized, and mirrored in half of the cases.

    Where each pixel has a class, the picture is resized at random, and the part has the size.
    """
    if not size:
        size = image.shape[-1]
    mirrored = (-1,) if draw[4] < 0.5 else ()
    if _is_map(target):
        scale = _MAP_SCALES[0] + (_MAP_SCALES[1] - _MAP_SCALES[0]) * draw[0]
        height, width = (max(1, round(side * scale)) for side in image.shape[-2:])
        whole = _resized(image, (height, width)), _resized(target, (height, width), smooth=False)
        corner = [
            int(d * (max(0, side - size) + 1))
            for d, side in zip(draw[2:4], (height, width), strict=True)
        ]
        part, of_target = _window(*whole, corner, size)
        return part.flip(mirrored), of_target.flip(mirrored)
    top, left, height, width = _part(image.shape[-2], image.shape[-1], draw)
    part = image[..., top : top + height, left : left + width]
    return _resized(part, (size, size)).flip(mirrored), target


def _window(
    image: torch.Tensor, target: torch.Tensor, corner: Sequence[int], size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The part of this size at a corner; what lies outside is black, and ignored."""
    height, width = (min(side, size) for side in image.shape[-2:])
    top, left = corner
    around = [(size - width) // 2, -(-(size - width) // 2)]
    around += [(size - height) // 2, -(-(size - height) // 2)]
    cut = (..., slice(top, top + height), slice(left, left + width))
    return pad(image[cut], around, value=0), pad(target[cut], around, value=IGNORED)


def _part(height: int, width: int, draw: Floats) -> tuple[int, int, int, int]:
    """Top, left, height and width of a part of random area and shape that lies in the picture."""
    area = height * width * (_SCALES[0] + (_SCALES[1] - _SCALES[0]) * draw[0])
    low, high = np.log(_RATIOS[0]), np.log(_RATIOS[1])
    ratio = np.exp(low + (high - low) * draw[1])
    # Where it would not fit, the longest side that does, in the same shape.
    tall = min(height, np.sqrt(area / ratio), width / ratio)
    rows, columns = max(1, round(tall)), max(1, min(width, round(tall * ratio)))
    return int(draw[2] * (height - rows + 1)), int(draw[3] * (width - columns + 1)), rows, columns


def _resized(image: torch.Tensor, size: tuple[int, int], *, smooth: bool = True) -> torch.Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    if not smooth:
        classes = interpolate(image[None, None].float(), size, mode="nearest-exact")[0, 0]
        return classes.to(image.dtype)
    if image.dim() != 3:
        raise InputError(f"expected pictures (channels, height, width), found {list(image.shape)}")
    whole = interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
    return whole.round().to(torch.uint8) if image.dtype == torch.uint8 else whole


def _is_map(targets: Any, *, batch: bool = False) -> bool:
    """Whether targets are a class a pixel."""
    return isinstance(targets, torch.Tensor) and targets.dim() - batch == 2


class _Centred(Dataset[Any]):
    """A data set of which only the middle of each picture is seen; with `maps` of each map too."""

    def __init__(self, data: Dataset[Any], size: int, *, maps: bool) -> None:
        self._data, self._size, self._maps = data, size, maps

    def __len__(self) -> int:
        return len(self._data)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        image, target = self._data[index]
        if self._maps and _is_map(target):
            corner = [max(0, side - self._size) // 2 for side in image.shape[-2:]]
            return _window(image, target, corner, self._size)
        return _centred(image, target, self._size)


def as_evaluated(data: Any, schedule: Schedule) -> Any:
    """A data set as evaluation sees it: what is trained on parts is tested on the middle.

    Where each pixel has a class the whole picture is seen, of whatever size. A loader of the
    caller's own stays as it is.
    """
    return _middle(data, schedule, maps=False)


def cropped(data: Dataset[Any], size: int) -> Dataset[Any]:
    """The same, where the side of the middle is told in pixels."""
    return _Centred(data, size, maps=False)


def in_one_size(data: Any, schedule: Schedule) -> Any:
    """The same, but that pictures whose pixels have classes are seen in their middle too."""
    return _middle(data, schedule, maps=True)


def _middle(data: Any, schedule: Schedule, *, maps: bool) -> Any:
    cropped = schedule.augment == "crop" and schedule.size and isinstance(data, Dataset)
    return _Centred(data, schedule.size, maps=maps) if cropped else data
