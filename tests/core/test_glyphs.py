"""Letters and digits as pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from ticketkit import UsageError, draw_glyphs
from ticketkit.glyphs import CHARACTERS, FACES, _atlas, _grid, _thickened


def drawn(characters: str = CHARACTERS, size: int = 16, seed: int = 0) -> torch.Tensor:
    return draw_glyphs(characters, size, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 7, 16, 48, 60])
def test_glyphs_are_white_on_black_in_any_size(size: int) -> None:
    pictures = drawn(size=size)
    assert (pictures.shape, pictures.dtype) == ((62, size, size), torch.float32)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert (pictures.amax((1, 2)) > 0.03).all()  # each of them shows
    assert 0.05 < pictures.mean() < 0.2
    if size >= 16:
        assert pictures.max() > 0.99
        assert (pictures == 0).float().mean() > 0.5


def test_no_characters_are_no_pictures() -> None:
    assert drawn("").shape == (0, 16, 16)


def test_glyphs_follow_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = drawn()
    torch.manual_seed(2)
    assert torch.equal(first, drawn())
    assert not torch.equal(first, drawn(seed=1))
    twice = drawn("aa")
    assert not torch.equal(twice[0], twice[1])


def test_the_steps_in_which_they_are_drawn_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn()
    monkeypatch.setattr("ticketkit.glyphs._STEP", 5 * 48**2)
    assert torch.equal(drawn(), whole)


SCRIPT = """
import hashlib, sys, torch, ticketkit
torch.set_num_threads(int(sys.argv[1]))
for size in (16, 24, 48):
    pictures = ticketkit.draw_glyphs("aZ9" * 500, size, torch.Generator().manual_seed(5))
    print(hashlib.sha256(pictures.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_another_process_with_other_threads_draws_the_same_bits() -> None:
    found = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, threads], capture_output=True, text=True, check=True
        ).stdout
        for threads in ("1", "2", "3")
    ]
    assert len(found[0].split()) == 3
    assert len(set(found)) == 1


@pytest.mark.parametrize("character", [" ", "é", "-", "\n"])
def test_other_characters_are_refused(character: str) -> None:
    with pytest.raises(UsageError, match="glyphs are letters A-Z, a-z and digits, found"):
        drawn(f"a{character}b")


def test_there_are_20_faces_and_each_has_every_character() -> None:
    atlas = _atlas(48)
    assert len(set(FACES)) == 20
    assert atlas.shape == (20, 62, 48, 48)
    for face in atlas:
        assert len({glyph.numpy().tobytes() for glyph in face}) == 62
    assert len({face.numpy().tobytes() for face in atlas}) == 20


def test_each_glyph_has_the_size_and_the_place_that_its_outline_has() -> None:
    import matplotlib

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for face, row in zip(FACES[::4], _atlas(48)[::4], strict=True):
        font = FontProperties(fname=str(fonts / f"{face}.ttf"))
        for character, glyph in zip(CHARACTERS, row.numpy(), strict=True):
            outline = TextPath((0, 0), character, size=36, prop=font).get_extents()
            for axis, length in ((1, outline.width), (0, outline.height)):
                ink = np.flatnonzero(glyph.any(axis=1 - axis))
                assert abs(1 + ink[-1] - ink[0] - length) < 2.5, (face, character)
                assert abs((ink[0] + ink[-1]) / 2 - 23.5) <= 0.5  # in the middle


def test_without_a_distortion_each_pixel_comes_from_its_own_place() -> None:
    grid = _grid(torch.zeros(2, 6), torch.zeros(2, 2, 4, 4), 48)
    ticks = (torch.arange(48) + 0.5) / 24 - 1
    torch.testing.assert_close(grid[1, :, 5, 1], ticks)
    torch.testing.assert_close(grid[1, 7, :, 0], ticks)


@pytest.mark.parametrize("lots", [[1.0] * 6, [-1.0] * 6, [0.3, -0.8, 0.5, -0.2, 0.9, -0.6]])
def test_a_distortion_scales_then_shears_then_rotates_then_shifts(lots: list[float]) -> None:
    angle, wide, high, shear, right, down = lots
    cosine, sine = np.cos(0.35 * angle), np.sin(0.35 * angle)
    scale = np.diag([1 + 0.25 * wide, 1 + 0.25 * high])
    matrix = np.array([[cosine, -sine], [sine, cosine]]) @ [[1, 0.3 * shear], [0, 1]] @ scale
    grid = _grid(torch.tensor([lots]), torch.zeros(1, 2, 4, 4), 48)[0].reshape(-1, 2).numpy()
    ticks = (np.arange(48) + 0.5) / 24 - 1
    there = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    landed = grid @ matrix.T + 0.2 * np.array([right, down])
    np.testing.assert_allclose(landed, there, atol=1e-5)


def test_a_warp_bends_smoothly() -> None:
    warp = torch.zeros(1, 2, 4, 4)
    warp[0, 0] = 0.09
    grid = _grid(torch.zeros(1, 6), warp, 48) - _grid(torch.zeros(1, 6), 0 * warp, 48)
    torch.testing.assert_close(grid[..., 0], torch.full((1, 48, 48), 0.09))
    assert not grid[..., 1].any()


def test_a_thick_glyph_has_the_maximum_of_its_neighbours() -> None:
    picture = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    around = np.pad(picture[0, 0].numpy(), 1)
    expected = np.lib.stride_tricks.sliding_window_view(around, (3, 3)).max((2, 3))
    assert np.array_equal(_thickened(picture)[0, 0].numpy(), expected)
    larger = torch.zeros(1, 1, 96, 96)
    larger[..., 50, 50] = 1
    assert _thickened(larger).sum() == 25


def test_without_matplotlib_it_is_a_line_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _atlas.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"matplotlib cannot be .*pip install 'ticketkit\[demo\]'"):
        drawn()
