"""What every task promises."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

import ticketkit
from ticketkit.testing.laws import PartLaws, promise

# Items of a set that are looked at; of a larger set, these many, evenly spread.
_LOOKED_AT = 1000


class TaskLaws(PartLaws):
    """The laws of a task. Data is looked for, and cached, in `root`, or else in an empty folder."""

    kind = "task"
    part: ClassVar[ticketkit.Task]
    root: ClassVar[Path | None] = None

    def test_it_says_how_many_classes_there_are_and_how_they_are_measured(
        self, tmp_path: Path
    ) -> None:
        """`classes` is a whole number of two or more, and `metric` the name of an evaluator."""
        classes, metric = self._classes(tmp_path), self.part.metric
        most = ticketkit.IGNORED if self.part.segmentation else math.inf
        promise(
            type(classes) is int and 2 <= classes <= most,
            "classes is a whole number of two or more, and of 255 or fewer where each pixel has "
            f"one: found {classes!r}",
        )
        promise(isinstance(metric, str) and bool(metric), f"metric is a name, found {metric!r}")

    def test_its_splits_are_train_and_test_and_not_empty(self, tmp_path: Path) -> None:
        """`splits` returns data sets "train" and "test" with a length and items."""
        splits: Any = self.part.splits(self.root or tmp_path)
        promise(isinstance(splits, Mapping), f"splits are a mapping, found {type(splits).__name__}")
        for name in ("train", "test"):
            dataset = splits.get(name)
            promise(
                hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"),
                f"{name} is a data set with a length and items, found {type(dataset).__name__}",
            )
            promise(len(dataset) > 0, f"{name} is empty")

    def test_an_item_is_a_picture_and_its_target(self, tmp_path: Path) -> None:
        """Pictures are (channels, height, width), uint8 or in [0, 1]; targets are whole numbers."""
        channels = set()
        for where, item in self._items(tmp_path):
            pair = isinstance(item, tuple | list) and len(item) == 2
            promise(pair, f"{where} is a pair (picture, target), found {type(item).__name__}")
            picture, target = item[0], torch.as_tensor(item[1])
            _check_picture(picture, f"{where}: the picture")
            plane = tuple(picture.shape[1:]) if self.part.segmentation else ()
            whole = not (target.is_floating_point() or target.is_complex())
            promise(
                whole and tuple(target.shape) == plane,
                f"{where}: the target is whole, of shape {plane}: found {target.dtype} of shape "
                f"{tuple(target.shape)}",
            )
            channels.add(len(picture))
        promise(len(channels) == 1, f"all pictures have as many channels, found {sorted(channels)}")

    def test_targets_are_classes(self, tmp_path: Path) -> None:
        """Targets are 0 to classes - 1; of pixels also 255, which is ignored."""
        classes = self._classes(tmp_path)
        for where, item in self._items(tmp_path):
            bad = sorted(c for c in self._found_in(item[1]) if not 0 <= c < classes)
            promise(not bad, f"{where}: targets are 0 to {classes - 1}, found {bad}")

    def test_no_class_is_tested_that_is_not_trained(self, tmp_path: Path) -> None:
        """Both splits are over the same classes."""
        classes: dict[str, set[int]] = {"train": set(), "test": set()}
        for name, dataset in self.part.splits(self.root or tmp_path).items():
            for index in _indices(dataset):
                classes.setdefault(name, set()).update(self._found_in(dataset[index][1]))
        alone = sorted(classes["test"] - classes["train"])
        promise(not alone, f"test has classes that train has not: {alone}")

    def test_its_data_are_the_same_on_every_call(self, tmp_path: Path) -> None:
        """The same bits each time: from the cache, and in a folder where there is none yet."""
        roots = [self.root] * 3 if self.root else [tmp_path, tmp_path, tmp_path / "another"]
        calls = [list(self._items(root)) for root in roots]
        for again in calls[1:]:
            promise(len(again) == len(calls[0]), "splits were of another length the second time")
            for (where, one), (_, other) in zip(calls[0], again, strict=True):
                same = all(_same(a, b) for a, b in zip(one, other, strict=True))
                promise(same, f"{where} was another one the second time")

    def test_it_draws_lots_from_no_global_generator(self, tmp_path: Path) -> None:
        """torch's global generator is neither read nor advanced: make one of your own."""
        found = []
        with torch.random.fork_rng(devices=[]):
            for seed in (1, 2):
                torch.manual_seed(seed)
                state = torch.random.get_rng_state()
                found.append([item for _, item in self._items(tmp_path / str(seed))])
                untouched = torch.equal(torch.random.get_rng_state(), state)
                promise(untouched, "it took numbers from torch's global generator")
        pairs = zip(*found, strict=True)
        same = all(_same(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))
        promise(same, "its data depend on torch's global seed")

    def test_its_normalisation_is_a_mean_and_a_deviation_of_each_channel(
        self, tmp_path: Path
    ) -> None:
        """`normalisation` is empty, or has `mean` and a positive `std`, a number for a channel."""
        found = self.part.normalisation
        if not found:
            return
        channels = len(next(self._items(tmp_path))[1][0])
        promise(set(found) == {"mean", "std"}, f"it has mean and std, found {sorted(found)}")
        for name, numbers in found.items():
            promise(
                len(numbers) == channels and all(math.isfinite(n) for n in numbers),
                f"{name} is a finite number for each of {channels} channels, found {numbers}",
            )
        promise(min(found["std"]) > 0, f"std is above 0, found {found['std']}")

    def test_its_spec_draws_the_ticket_again(self) -> None:
        """Its spec is the task with all of its options; a ticket plays no part in that."""
        if ticketkit.catalogue().of(self.part) is None:
            return  # the spec of a class that no plugin offers holds only where it can be imported
        spec = ticketkit.spec_of(self.part)
        again = ticketkit.resolve("task", spec)
        same = type(again) is type(self.part) and ticketkit.spec_of(again) == spec
        promise(
            same and (not dataclasses.is_dataclass(again) or again == self.part),
            f"the spec {spec!r} gives another task than the part itself: {again!r}",
        )

    def _items(self, root: Path) -> Iterator[tuple[str, Any]]:
        """Items of both splits, each with where it stands."""
        splits = self.part.splits(self.root or root)
        for name in ("train", "test"):
            for index in _indices(splits[name]):
                yield f"item {index} of {name}", splits[name][index]

    def _classes(self, root: Path) -> int:
        return self.part.classes_in(self.root or root)

    def _found_in(self, target: Any) -> set[int]:
        found = set(torch.as_tensor(target).flatten().tolist())
        return found - {ticketkit.IGNORED} if self.part.segmentation else found


def _indices(dataset: Any) -> range:
    return range(0, len(dataset), 1 + (len(dataset) - 1) // _LOOKED_AT)


def _check_picture(picture: Any, where: str) -> None:
    promise(
        isinstance(picture, torch.Tensor) and picture.dim() == 3 and picture.numel() > 0,
        f"{where} is a tensor (channels, height, width), found "
        f"{tuple(getattr(picture, 'shape', ())) or type(picture).__name__}",
    )
    if picture.dtype != torch.uint8:
        promise(picture.is_floating_point(), f"{where} is uint8 or floating: {picture.dtype}")
        inside = bool(((picture >= 0) & (picture <= 1)).all())  # NaN is neither
        promise(inside, f"{where} is in [0, 1], found {picture.min():g} to {picture.max():g}")


def _same(one: Any, other: Any) -> bool:
    """Whether two pictures or targets have the same bits."""
    a, b = torch.as_tensor(one), torch.as_tensor(other)
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
