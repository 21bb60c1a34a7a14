"""The data of a task, checked before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ticketkit.blame import blamed
from ticketkit.errors import TicketkitError, UsageError, some
from ticketkit.imagefiles import ImageFiles
from ticketkit.losses import IGNORED
from ticketkit.parts import Task, brings
from ticketkit.pictures import Pictures

if TYPE_CHECKING:
    from ticketkit.parts import Dataset

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class Data:
    """The data sets of a task."""

    train: Dataset
    test: Dataset
    shape: tuple[int, int, int]
    """Of the first picture to train on, others may differ: channels, height, width."""
    classes: int


def check_downloads(task: Task) -> None:
    """Raise a `UsageError` for a task that has nothing to download."""
    if not brings(task, "download"):
        raise UsageError(
            f"task {task.name!r} downloads nothing: --data names the folder in which its data lies"
        )


def data_of(task: Task, root: Path | None = None, *, download: bool = False) -> Data:
    """The splits of a task, their first items and, where they are known, all targets checked.

    With `download` the data is fetched first, where it is not there yet; without it nothing is. A
    `PluginError` that names the task where its data is not what a task promises.
    """
    with blamed(task):
        if download:
            check_downloads(task)
            task.download(root)
        classes = _classes(task, root)
        splits = task.splits(root)
        if not isinstance(splits, Mapping):
            kind = type(splits).__name__
            raise TypeError(f"splits are a mapping of names to data sets, found {kind}")
        if missing := [name for name in ("train", "test") if name not in splits]:
            raise ValueError(f"splits lack {' and '.join(missing)}; found {some(splits) or 'none'}")
        train, test = splits["train"], splits["test"]
        shape = _shape(train, "train", classes, task.segmentation)
        other = _shape(test, "test", classes, task.segmentation)
        if shape[0] != other[0]:
            raise ValueError(f"train has pictures of {shape[0]} channels, test of {other[0]}")
        return Data(train, test, shape, classes)


def _classes(task: Task, root: Path | None) -> int:
    classes, most = task.classes_in(root), IGNORED if task.segmentation else None
    if type(classes) is not int or classes < 2 or (most and classes > most):
        limit = f" to {most}" if most else ""
        raise ValueError(f"classes is a whole number, 2{limit or ' or more'}, found {classes!r}")
    return classes


def _shape(dataset: Any, name: str, classes: int, segmentation: bool) -> tuple[int, int, int]:
    """The shape of a data set's first picture; what is wrong with the set is an error."""
    picture, target = _first(dataset, name)
    shape = _picture(picture, f"item 0 of {name}: the picture")
    expected, target = shape[1:] if segmentation else (), torch.as_tensor(target)
    if target.shape != expected or target.dtype not in _WHOLE:
        dtypes = "a whole number" if not segmentation else f"whole numbers of shape {expected}"
        raise TypeError(
            f"item 0 of {name}: the target is {dtypes}, found {target.dtype} of shape "
            f"{tuple(target.shape)}"
        )
    known = dataset.targets if isinstance(dataset, Pictures | ImageFiles) else target[None]
    _check_classes(known, name, classes, segmentation)
    return shape


def _first(dataset: Any, name: str) -> tuple[Any, Any]:
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        kind = type(dataset).__name__
        raise TypeError(f"{name} is a data set with a length and items, found {kind}")
    if not len(dataset):
        raise ValueError(f"{name} is empty")
    try:
        item = dataset[0]
    except TicketkitError:
        raise
    except Exception as error:
        raise ValueError(f"item 0 of {name}: {type(error).__name__}: {error}") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        kind = type(item).__name__
        raise TypeError(f"item 0 of {name} is a pair (picture, target), found {kind}")
    return item[0], item[1]


def _check_classes(targets: torch.Tensor, name: str, classes: int, segmentation: bool) -> None:
    """Refuse a class that there is not, in targets of shape (n, ...)."""
    bad = (targets < 0) | (targets >= classes)
    bad &= (targets != IGNORED) | (not segmentation)
    if bad.any():
        place = bad.nonzero()[0]
        ignored = f", or {IGNORED} where they are ignored" if segmentation else ""
        raise ValueError(
            f"item {place[0].item()} of {name}: targets are 0 to {classes - 1}{ignored}, found "
            f"{targets[tuple(place)].item()}"
        )


def _picture(picture: Any, where: str) -> tuple[int, int, int]:
    if not isinstance(picture, torch.Tensor) or picture.dim() != 3 or not picture.numel():
        found = tuple(picture.shape) if isinstance(picture, torch.Tensor) else type(picture)
        raise TypeError(f"{where} is a tensor (channels, height, width), found {found}")
    if picture.dtype != torch.uint8 and not picture.is_floating_point():
        raise TypeError(f"{where} is uint8 or floating, found {picture.dtype}")
    low, high = picture.min().item(), picture.max().item()
    if picture.is_floating_point() and not 0 <= low <= high <= 1:  # NaN is in no range
        raise ValueError(f"{where} is in [0, 1], found {low:g} to {high:g}")
    channels, height, width = picture.shape
    return channels, height, width
