"""The data of a task, checked before anything is trained on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.core import broken
from ticketkit import ImageFiles, InputError, Pictures, PluginError, UsageError
from ticketkit.datasets import data_of


class Given(broken.Task):
    """A task of given splits."""

    name = "given"

    def __init__(self, **splits: Any) -> None:
        self.splits = lambda root: splits  # type: ignore[method-assign]


class GivenScenes(Given):
    segmentation = True


GOOD = broken.Task().made(4, 0)
PLANES = broken.Scenes().made(4, 0)


def refused(task: Any) -> str:
    """Why the data of a task are refused."""
    with pytest.raises(PluginError, match=re.escape(f"part {task.name!r} not registered")) as told:
        data_of(task)
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("task", [broken.Task(), broken.Scenes(), broken.Floating()])
def test_good_data_pass_with_the_shape_of_a_picture(task: broken.Task) -> None:
    data = data_of(task)
    assert data.shape == (1, 4, 5)
    assert (len(data.train), len(data.test)) == (30, 20)  # type: ignore[arg-type]


def test_other_splits_may_be_there_too() -> None:
    assert data_of(Given(train=GOOD, other=None, test=GOOD)).test is GOOD


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ({}, "splits lack train and test; found none"),
        ({"train": GOOD, "val": GOOD}, "splits lack test; found train, val"),
        ({"train": GOOD, "test": GOOD.subset([])}, "test is empty"),
        ({"train": iter(GOOD), "test": GOOD}, "train is a data set with a length"),
        ({"train": GOOD, "test": None}, "test is a data set .*found NoneType"),
        ({"train": GOOD, "test": [GOOD.images[0]]}, "item 0 of test is a pair .*found Tensor"),
        ({"train": [(1, 2)], "test": GOOD}, "item 0 of train: the picture is a tensor"),
        ({"train": [(GOOD.images[0, 0], 1)], "test": GOOD}, r"found \(4, 5\)"),
        ({"train": [(GOOD.images[0].int(), 1)], "test": GOOD}, "uint8 or floating"),
        ({"train": [(GOOD.images[0].float(), 1)], "test": GOOD}, r"in \[0, 1\], found \d+ to"),
        ({"train": [(GOOD.images[0] / 0, 1)], "test": GOOD}, r"in \[0, 1\], found (nan|inf)"),
        ({"train": [(GOOD.images[0], 1.0)], "test": GOOD}, "target is a whole number"),
        ({"train": [(GOOD.images[0], "one")], "test": GOOD}, "failed: "),
        ({"train": [(GOOD.images[0], 2)], "test": GOOD}, "targets are 0 to 1, found 2"),
        ({"train": [(GOOD.images[0], -1)], "test": GOOD}, "targets are 0 to 1, found -1"),
        ({"train": [(GOOD.images[0].expand(3, 4, 5), 1)], "test": GOOD}, "3 channels, test of 1"),
        ({"train": PLANES, "test": PLANES}, r"a whole number, found torch.uint8 of shape \(4, 5\)"),
    ],
)
def test_what_a_task_does_not_promise_is_refused(splits: Mapping[str, Any], told: str) -> None:
    assert re.search(told, refused(Given(**splits)))


def test_every_target_in_memory_is_looked_at() -> None:
    for label in (2, -1, 255):
        targets = GOOD.targets.clone()
        targets[2] = label
        late = Pictures(GOOD.images, targets)
        told = f"item 2 of test: targets are 0 to 1, found {label}"
        assert told in refused(Given(train=GOOD, test=late))


def test_pixels_may_be_ignored_and_no_more() -> None:
    assert 255 in PLANES.targets
    assert data_of(GivenScenes(train=PLANES, test=PLANES)).shape == (1, 4, 5)
    targets = PLANES.targets.clone()
    targets[3, 1, 1] = 254
    told = "item 3 of test: targets are 0 to 1, or 255 where they are ignored, found 254"
    late = Pictures(PLANES.images, targets)
    assert told in refused(GivenScenes(train=PLANES, test=late))


def test_a_scene_has_a_class_for_each_pixel() -> None:
    told = r"whole numbers of shape \(4, 5\), found torch.int64 of shape \(\)"
    assert re.search(told, refused(GivenScenes(train=GOOD, test=GOOD)))


@pytest.mark.parametrize("classes", [1, 0, 2.0, None, True])
def test_classes_are_a_whole_number(classes: Any) -> None:
    task = Given(train=GOOD, test=GOOD)
    task.classes = classes
    assert f"classes is a whole number, 2 or more, found {classes!r}" in refused(task)


def test_so_many_classes_that_one_would_be_ignored_are_refused() -> None:
    task = GivenScenes(train=PLANES, test=PLANES)
    task.classes = 256
    assert "2 to 255, found 256" in refused(task)
    task.classes = 255
    assert data_of(task)


def test_a_picture_that_cannot_be_read_is_named() -> None:
    class Unreadable(broken.Items):
        def __getitem__(self, index: Any) -> Any:
            raise OSError("truncated")

    told = refused(Given(train=Unreadable([1]), test=GOOD))
    assert "item 0 of train: OSError: truncated" in told


def test_what_a_task_says_of_missing_data_is_left_as_it_is() -> None:
    class Missing(broken.Task):
        def splits(self, root: Any) -> Any:
            raise InputError("/data/cifar: no such folder")

    with pytest.raises(InputError, match=r"^/data/cifar: no such folder$"):
        data_of(Missing())


def test_splits_that_fail_are_blamed_on_the_task() -> None:
    class Fails(broken.Task):
        def splits(self, root: Any) -> Any:
            raise KeyError("x")

    assert "failed: KeyError" in refused(Fails())
    assert "found list" in refused(broken.ListOfSplits())


def test_floating_pictures_at_the_ends_of_the_range_pass() -> None:
    ends = torch.tensor([[[0.0, 1.0]]])
    assert data_of(Given(train=[(ends, 0)], test=[(ends, 1)])).shape == (1, 1, 2)


def test_data_is_downloaded_where_it_was_asked_for_and_only_there(tmp_path: Path) -> None:
    class Fetches(broken.Task):
        fetched: Path | None = None

        def download(self, root: Path | None) -> None:
            self.fetched = root

    task = Fetches()
    data_of(task, tmp_path)
    assert task.fetched is None
    data_of(task, tmp_path, download=True)
    assert task.fetched == tmp_path


def test_a_task_that_downloads_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="task 'bright' downloads nothing: --data names"):
        data_of(broken.Task(), tmp_path, download=True)


def test_a_download_that_fails_is_blamed_on_the_task(tmp_path: Path) -> None:
    class Fails(broken.Task):
        def download(self, root: Path | None) -> None:
            raise KeyError("x")

    with pytest.raises(PluginError, match="failed: KeyError"):
        data_of(Fails(), tmp_path, download=True)


def test_classes_may_be_counted_in_the_data(tmp_path: Path) -> None:
    class Counts(broken.Task):
        def classes_in(self, root: Path | None) -> int:
            return len(root.name) if root else 2

    assert data_of(Counts(), tmp_path / "five5").classes == 5
    assert data_of(broken.Task()).classes == 2
    with pytest.raises(PluginError, match="classes is a whole number, 2 or more, found 1"):
        data_of(Counts(), tmp_path / "1")


def test_every_target_of_files_is_looked_at(tmp_path: Path) -> None:
    from tests.plugins.tasks.real_files import photos

    photos(tmp_path, ["a.jpg", "b.jpg"])
    late = ImageFiles(tmp_path, ["a.jpg", "b.jpg"], [0, 2], 3)
    good = ImageFiles(tmp_path, ["a.jpg", "b.jpg"], [0, 1], 3)
    assert "item 1 of test: targets are 0 to 1, found 2" in refused(Given(train=good, test=late))
