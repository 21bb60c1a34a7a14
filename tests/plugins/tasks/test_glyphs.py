"""Task `glyphs`."""

from __future__ import annotations

import importlib.metadata
import string
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ticketkit
from tests.samples import names
from ticketkit.datasets import data_of
from ticketkit.testing import TaskLaws
from ticketkit_plugins.tasks.glyphs import Glyphs


class TestGlyphs(TaskLaws):
    part = Glyphs(count=300)


def splits(folder: Path, **options: Any) -> dict[str, ticketkit.Pictures]:
    return dict(Glyphs(**options).splits(folder))


def test_there_are_equally_many_of_each_of_62_classes_in_random_order(tmp_path: Path) -> None:
    made = splits(tmp_path, count=500)
    for name, count in (("train", 500), ("test", 125)):
        targets = made[name].targets
        counts = torch.bincount(targets, minlength=62)
        assert (len(targets), len(counts)) == (count, 62)
        assert counts.max() - counts.min() <= 1
        assert not torch.equal(targets, targets.sort().values)


def test_a_picture_is_what_draw_glyphs_draws_of_its_class(tmp_path: Path) -> None:
    made = splits(tmp_path, count=40, seed=3)["test"]
    generator = torch.Generator().manual_seed(7)
    torch.randperm(10, generator=generator)
    characters = string.ascii_uppercase + string.ascii_lowercase + string.digits
    text = "".join(characters[target] for target in made.targets.tolist())
    drawn = ticketkit.draw_glyphs(text, 16, generator)
    assert (made.images[:, 0] - 255 * drawn).abs().max() <= 0.5


def test_each_seed_draws_others_and_tests_on_none_that_it_trains_on(tmp_path: Path) -> None:
    sets = [s for seed in range(3) for s in splits(tmp_path, count=300, seed=seed).values()]
    assert len({each.digest() for each in sets}) == 6
    pictures = [image.numpy().tobytes() for each in sets for image in each.images]
    assert len(set(pictures)) == len(pictures) == 3 * 375


@pytest.mark.parametrize("size", [8, 16, 50])
def test_pictures_come_in_any_size(size: int, tmp_path: Path) -> None:
    assert data_of(Glyphs(size=size, count=62), tmp_path).shape == (1, size, size)


def test_they_are_kept_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = splits(tmp_path, count=62)
    monkeypatch.setattr(ticketkit, "draw_glyphs", None)
    again = splits(tmp_path, count=62)
    assert [s.digest() for s in first.values()] == [s.digest() for s in again.values()]
    assert len(names(tmp_path)) == 1


@pytest.mark.parametrize(
    "options", ["size=0", "size=-1", "count=3", "seed=-1", "count=2147483648", "size=1.5"]
)
def test_options_out_of_range_are_refused(options: str) -> None:
    with pytest.raises(ticketkit.UsageError, match="a whole number"):
        ticketkit.resolve("task", f"glyphs:{options}")


def test_without_matplotlib_it_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str, known: Any = importlib.metadata.version) -> str:
        if name == "matplotlib":
            raise importlib.metadata.PackageNotFoundError(name)
        return str(known(name))

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ticketkit.UsageError, match=r"needs ticketkit\[demo\]: pip install"):
        data_of(Glyphs(count=62, size=49), tmp_path)


@pytest.mark.slow
def test_setting_a_of_the_defaults(tmp_path: Path) -> None:
    data = data_of(Glyphs(), tmp_path)
    assert data.shape == (1, 16, 16)
    assert isinstance(data.train, ticketkit.Pictures)
    assert isinstance(data.test, ticketkit.Pictures)
    assert (len(data.train), len(data.test)) == (8000, 2000)
