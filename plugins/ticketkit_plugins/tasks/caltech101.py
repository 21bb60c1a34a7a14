"""Task `caltech101`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "caltech101/101_ObjectCategories"


class Caltech101(ticketkit.Task):
    """Caltech-101: photos of objects; which of 101 is it?

    DATA/caltech101/101_ObjectCategories has a folder for each class; BACKGROUND_Google is none. The
    first 30 of each are trained on, 3,030, and the other 5,647 are tested on.
    """

    name = "caltech101"
    classes = 101
    metric = "accuracy.per_class"
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, _FOLDER) / _FOLDER
        names = ticketkit.class_folders(folder, without=["BACKGROUND_Google"])
        ticketkit.check_classes(folder, len(names), self.classes)
        return ticketkit.split_classes(folder, names, 30)

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, [_FOLDER], "Caltech101")


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Caltech101
