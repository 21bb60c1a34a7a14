"""Task `glyph-scenes`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ticketkit
from ticketkit.datasets import data_of
from ticketkit.testing import TaskLaws
from ticketkit_plugins.tasks.glyph_scenes import GlyphScenes


class TestGlyphScenes(TaskLaws):
    part = GlyphScenes(count=60)


def splits(folder: Path, **options: Any) -> dict[str, ticketkit.Pictures]:
    return dict(GlyphScenes(**options).splits(folder))


def test_every_scene_has_ground_a_digit_and_pixels_that_are_ignored(tmp_path: Path) -> None:
    made = splits(tmp_path, count=200)
    assert {name: len(each) for name, each in made.items()} == {"train": 200, "test": 50}
    for each in made.values():
        targets = each.targets.flatten(1)
        assert 0.8 < (targets == 0).double().mean() < 0.95
        assert 0.01 < (targets == 255).double().mean() < 0.05
        assert ((targets == 0).any(1) & (targets == 255).any(1)).all()
        digits = torch.stack([(targets == 1 + digit).any(1) for digit in range(10)], 1)
        assert digits.any(0).all()
        numbers = digits.sum(1)
        assert [int(numbers.min()), int(numbers.max())] == [1, 4]


def test_digits_are_brighter_than_the_ground_and_pixels_between_are_ignored(
    tmp_path: Path,
) -> None:
    made = splits(tmp_path, count=200)["train"]
    images, targets = made.images[:, 0].double() / 255, made.targets
    ground, ignored = images[targets == 0], images[targets == 255]
    digits = images[(targets > 0) & (targets < 255)]
    assert ground.mean() < ignored.mean() < digits.mean()
    assert digits.min() > 0.3
    assert ground.max() <= 0.5 + 0.25 * 0.5 + 0.2
    assert 0.05 < images[:, :, 0].std() < 0.2  # there is a texture


@pytest.mark.parametrize("size", [16, 33, 64])
def test_scenes_come_in_any_size(size: int, tmp_path: Path) -> None:
    assert data_of(GlyphScenes(size=size, count=60), tmp_path).shape == (1, size, size)


def test_each_seed_draws_others_and_tests_on_none_that_it_trains_on(tmp_path: Path) -> None:
    sets = [s for seed in range(2) for s in splits(tmp_path, count=40, seed=seed).values()]
    pictures = [image.numpy().tobytes() for each in sets for image in each.images]
    assert len(set(pictures)) == len(pictures) == 100


@pytest.mark.parametrize("options", ["size=15", "count=3", "seed=-1"])
def test_options_out_of_range_are_refused(options: str) -> None:
    with pytest.raises(ticketkit.UsageError, match="a whole number"):
        ticketkit.resolve("task", f"glyph-scenes:{options}")


def test_a_digit_is_where_its_class_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Digits drawn as squares whose side tells them: each shows where it is said to be.
    def squares(characters: str, size: int, generator: torch.Generator) -> torch.Tensor:
        pictures = torch.zeros(len(characters), size, size)
        for picture, character in zip(pictures, characters, strict=True):
            picture[: int(character) + 1, : int(character) + 1] = 1
        return pictures

    monkeypatch.setattr(ticketkit, "draw_glyphs", squares)
    made = splits(tmp_path, count=400)["train"]
    assert 255 not in made.targets
    alone = 0
    for target in made.targets:
        labels = [label for label in target.unique().tolist() if label]
        if len(labels) == 1:
            area = int((target == labels[0]).sum())
            alone += area == labels[0] ** 2
    assert alone > 50


def test_without_matplotlib_it_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ticketkit.UsageError, match=r"needs ticketkit\[demo\]: pip install"):
        data_of(GlyphScenes(count=62, size=99), tmp_path)
