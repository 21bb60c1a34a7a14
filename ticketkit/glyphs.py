"""Letters and digits as pictures: drawn in many faces, and distorted as handwriting is."""

from __future__ import annotations

import functools
import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import grid_sample, interpolate, max_pool2d

from ticketkit.errors import UsageError, printable
from ticketkit.extras import import_extra

CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
# The text faces among matplotlib's own fonts. cmb10 is left out: it is cmr10, thickened.
FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmss10", "cmti10", "cmtt10"),
)
# Glyphs of 36 pixels an em are distorted in planes of 48 pixels, or more for larger pictures.
_PLANE, _EM = 48, 36
# How far a distortion goes to either side; lengths in halves of a picture's side.
_ROTATION, _SCALE, _SHEAR, _SHIFT = 0.35, 0.25, 0.3, 0.2
_WARP = 0.09
_THICKENED = 0.4
# Pixels per step.
_STEP = 2**21


def draw_glyphs(characters: str, size: int, generator: torch.Generator) -> torch.Tensor:
    """A picture of each of these characters: shape (n, size, size), float32 in [0, 1].

    Characters are letters A-Z, a-z and digits, white on black. The `generator` chooses for each the
    face, of 20; the rotation, up to 0.35 to either side; the scale of each axis, 0.75 to 1.25; the
    shear, up to 0.3; the shift, up to 0.2 halves of the picture; a smooth warp, normal of standard
    deviation 0.09 halves at 4x4 points; and 40 % of them are thickened. The faces are
    matplotlib's, of ticketkit[demo]: a `UsageError` where it is not installed.
    """
    if odd := sorted(set(characters) - set(CHARACTERS)):
        raise UsageError(f"glyphs are letters A-Z, a-z and digits, found {printable(odd[0])!r}")
    count = len(characters)
    faces = torch.randint(len(FACES), (count,), generator=generator)
    affine = 2 * torch.rand(count, 6, generator=generator) - 1
    warp = _WARP * torch.randn(count, 2, 4, 4, generator=generator)
    thick = torch.rand(count, generator=generator) < _THICKENED
    plane = max(_PLANE, size)
    glyphs = _atlas(plane)
    letters = torch.tensor([CHARACTERS.index(character) for character in characters])
    pictures = torch.empty(count, size, size)
    step = max(1, _STEP // plane**2)
    for start in range(0, count, step):
        part = slice(start, start + step)
        flat = glyphs[faces[part], letters[part]][:, None].float() / 255
        bent = grid_sample(flat, _grid(affine[part], warp[part], plane), align_corners=False)
        bold = torch.where(thick[part, None, None, None], _thickened(bent), bent)
        small = interpolate(bold, (size, size), mode="bilinear", antialias=True)
        pictures[part] = small[:, 0].clamp(0, 1)
    return pictures


def _grid(affine: torch.Tensor, warp: torch.Tensor, plane: int) -> torch.Tensor:
    """Where each pixel comes from, (n, plane, plane, 2), in coordinates from -1 to 1."""
    angle, wide, high, shear, right, down = affine[:, :, None, None].unbind(1)
    sine, cosine = (_ROTATION * angle).sin(), (_ROTATION * angle).cos()
    ticks = (torch.arange(plane) + 0.5) * 2 / plane - 1
    x = ticks[None, None, :] - _SHIFT * right
    y = ticks[None, :, None] - _SHIFT * down
    # The inverse of: scale, then shear, then rotate, then shift.
    turned_x, turned_y = cosine * x + sine * y, cosine * y - sine * x
    from_x = (turned_x - _SHEAR * shear * turned_y) / (1 + _SCALE * wide)
    from_y = turned_y / (1 + _SCALE * high)
    bend = interpolate(warp, (plane, plane), mode="bicubic", align_corners=False)
    return torch.stack([from_x + bend[:, 0], from_y + bend[:, 1]], -1)


def _thickened(pictures: torch.Tensor) -> torch.Tensor:
    """The maximum over 3x3 pixels, in planes of 48; over as much of a larger one."""
    radius = round(pictures.shape[-1] / _PLANE)
    return max_pool2d(pictures, 2 * radius + 1, stride=1, padding=radius)


@functools.lru_cache(maxsize=2)
def _atlas(plane: int) -> torch.Tensor:
    """Every character of every face, in the middle of its plane, (faces, characters, ...)."""
    fonts = Path(import_extra("matplotlib", "demo").get_data_path()) / "fonts" / "ttf"
    image_font = import_extra("PIL.ImageFont", "demo")
    atlas = np.zeros((len(FACES), len(CHARACTERS), plane, plane), np.uint8)
    for row, face in zip(atlas, FACES, strict=True):
        file, em = str(fonts / f"{face}.ttf"), plane * _EM // _PLANE
        font = image_font.truetype(file, em, layout_engine=image_font.Layout.BASIC)
        for cell, character in zip(row, CHARACTERS, strict=True):
            _centre(cell, font.getmask(character, "L"))
    return torch.from_numpy(atlas)


def _centre(cell: np.ndarray[Any, np.dtype[np.uint8]], mask: Any) -> None:
    """Copy the ink of a glyph to the middle of its cell."""
    ink = np.frombuffer(bytes(mask), np.uint8).reshape(mask.size[::-1])
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = ((have - need) // 2 for have, need in zip(cell.shape, ink.shape, strict=True))
    cell[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
