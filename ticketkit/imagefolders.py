"""Pictures that lie in a folder for each class."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ticketkit.datafiles import check_classes
from ticketkit.errors import InputError, printable, some
from ticketkit.imagefiles import ImageFiles

_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_TESTS = ("test", "val", "valid")


def image_folders(
    folder: Path, classes: int | None = None, tests: Sequence[str] = _TESTS
) -> dict[str, ImageFiles]:
    """The splits of `folder`, as torchvision's ImageFolder reads each.

    It has the folders `train` and, of `tests`, the first that is there; each has a folder for each
    class, in whose depth the pictures are. Classes are counted in `train`, in the order of their
    names; files and folders with a dot in front are none. An `InputError` where something is
    missing, a class has no picture to train on, `test` has classes that `train` has not, or `train`
    has not as many `classes` as were expected.
    """
    test = next((name for name in tests if (folder / name).is_dir()), None)
    if test is None or not (folder / "train").is_dir():
        raise InputError(
            f"{printable(str(folder))}: expected the folders train and {' or '.join(tests)} there, "
            "with a folder for each class"
        )
    names = class_folders(folder / "train")
    if classes is not None:
        check_classes(folder / "train", len(names), classes)
    if alone := sorted(set(class_folders(folder / test)) - set(names)):
        where = printable(str(folder))
        raise InputError(f"{where}: {test} has classes that train has not: {some(alone)}")
    places = {"train": "train", "test": test}
    found = {split: list(_below(folder, place, names)) for split, place in places.items()}
    if empty := sorted(set(names) - {names[target] for _, target in found["train"]}):
        raise InputError(f"{printable(str(folder / 'train'))}: no picture in {some(empty)}")
    return {split: _files(folder, pairs, len(names)) for split, pairs in found.items()}


def class_folders(folder: Path, without: Collection[str] = ()) -> list[str]:
    """The names of the folders in `folder`, sorted: a class each."""
    try:
        with os.scandir(folder) as entries:
            found = {entry.name for entry in entries if entry.is_dir()}
    except OSError as error:
        raise InputError(f"{printable(str(folder))}: {error.strerror}") from None
    names = sorted(name for name in found - set(without) if not name.startswith("."))
    if not names:
        raise InputError(f"{printable(str(folder))}: there is no folder of a class in it")
    return names


def split_classes(
    folder: Path, classes: Sequence[str], train: int, test: int | None = None
) -> dict[str, ImageFiles]:
    """The splits of a folder that has none: to train on, the first `train` pictures of each class.

    Of the others the first `test` are tested on; all of them where that is None. `classes` are the
    folders of the classes, below `folder`; the pictures of each, which lie in it directly, are in
    the order of their names.
    """
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for target, name in enumerate(classes):
        pictures = [(f"{name}/{picture}", target) for picture in _pictures_in(folder / name)]
        splits["train"] += pictures[:train]
        splits["test"] += pictures[train:][:test]
    return {split: _files(folder, pairs, len(classes)) for split, pairs in splits.items()}


def _files(folder: Path, pairs: list[tuple[str, int]], classes: int) -> ImageFiles:
    return ImageFiles(folder, [name for name, _ in pairs], [target for _, target in pairs], classes)


def _below(folder: Path, split: str, classes: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each picture of a split, by its path below `folder`, with its class."""
    for target, name in enumerate(classes):
        for place, _, files in sorted(os.walk(folder / split / name, followlinks=True)):
            below = Path(place).relative_to(folder).as_posix()
            for picture in sorted(filter(_is_picture, files)):
                yield f"{below}/{picture}", target


def _pictures_in(folder: Path) -> list[str]:
    try:
        return sorted(filter(_is_picture, os.listdir(folder)))  # noqa: PTH208  names are all
    except OSError as error:
        raise InputError(f"{printable(str(folder))}: {error.strerror}") from None


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_ENDINGS) and not name.startswith(".")
