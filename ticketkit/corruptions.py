"""The common corruptions of pictures, at five severities.

Hendrycks and Dietterich 2019, arXiv 1903.12261.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ticketkit import blurs, distortions, noises, weather
from ticketkit.attacks import check_pixels
from ticketkit.errors import InputError, UsageError, near, printable
from ticketkit.noises import Array
from ticketkit.seeds import seed_of
from ticketkit.severities import LARGE, SMALL
from ticketkit.stacking import pixels

_KINDS: dict[str, Callable[..., Array]] = {
    "gaussian_noise": noises.gaussian_noise,
    "shot_noise": noises.shot_noise,
    "impulse_noise": noises.impulse_noise,
    "defocus_blur": blurs.defocus_blur,
    "glass_blur": blurs.glass_blur,
    "motion_blur": blurs.motion_blur,
    "zoom_blur": blurs.zoom_blur,
    "snow": weather.snow,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": distortions.contrast,
    "elastic_transform": distortions.elastic_transform,
    "pixelate": distortions.pixelate,
    "jpeg_compression": distortions.jpeg_compression,
}

CORRUPTIONS = tuple(_KINDS)
"""14 of the 15 common corruptions, in the paper's order: frost needs photographs of frost."""

_LEAST = 8
"""The shortest side of a picture, in pixels."""
_LARGE = 64
"""The shorter side, in pixels, from which a picture counts as a photograph."""


def check_corruption(kind: str, severity: int = 1) -> None:
    """Raise a `UsageError` that lists the near ones for an unknown corruption, or severity."""
    if kind == "frost":
        raise UsageError("frost is left out of the common corruptions: it needs photographs of it")
    if kind not in _KINDS:
        shown = printable(str(kind))
        raise UsageError(
            f"unknown corruption {shown!r}{near(shown, _KINDS)}; choose from {', '.join(_KINDS)}"
        )
    if type(severity) is not int or not 1 <= severity <= 5:
        raise UsageError(f"the severity of a corruption is 1, 2, 3, 4 or 5, found {severity!r}")


def corrupt(
    pictures: torch.Tensor, kind: str, severity: int, *, seed: int = 0, first: int = 0
) -> torch.Tensor:
    """Pictures under one of the `CORRUPTIONS`, at severity 1 to 5: floating, in [0, 1].

    `pictures` are (batch, channels, height, width), floating in [0, 1] or in uint8, of any number
    of channels and 8 px a side or more; the result has their shape, device and floating dtype, and
    they stay as they are. What is random in a picture is a function of `seed`, the corruption, the
    severity and the picture's index, which is `first` for the first of them: not of its batch.

    The parameters are the published ones: ImageNet-C's where both sides have 64 px or more, else
    CIFAR-10-C's. Their lengths are in pixels of pictures of 224 and of 32 px, so that a blur is
    weaker in larger pictures; only elastic_transform's grow with the picture. Unlike the published
    data sets', the results are not rounded to bytes, nor is ImageNet-C's JPEG of quality 85 on top;
    the other differences are told in `blurs`, `weather` and `distortions`. Results compare with
    each other, and not to the last digit with those on published pictures.

    UsageError for an unknown corruption or severity, InputError for pictures that are none.

    >>> ticketkit.corrupt(torch.rand(4, 3, 32, 32), "fog", 3).shape
    torch.Size([4, 3, 32, 32])
    """
    check_corruption(kind, severity)
    floating = pixels(pictures)
    _check(floating, kind, first)
    array = floating.detach().to("cpu", torch.float32).contiguous().numpy()
    parameters = (LARGE if min(array.shape[-2:]) >= _LARGE else SMALL)[kind][severity - 1]
    seeds = [seed_of(seed, kind, severity, first + index) for index in range(len(array))]
    lots = [np.random.Generator(np.random.PCG64(each)) for each in seeds]
    found = _KINDS[kind](array, lots, *parameters) if lots else array.copy()
    return torch.from_numpy(found.clip(0, 1).astype(np.float32)).to(floating)


def _check(pictures: torch.Tensor, kind: str, first: int) -> None:
    check_pixels(pictures)
    if pictures.dim() != 4:
        raise InputError(
            f"{kind} takes pictures (batch, channels, height, width), found {tuple(pictures.shape)}"
        )
    height, width = pictures.shape[-2:]
    if min(height, width) < _LEAST:
        raise InputError(
            f"picture {first} is {height} x {width} px, too small for {kind}: a side has "
            f"{_LEAST} px or more"
        )
