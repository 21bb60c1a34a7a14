"""Task `caltech256`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "caltech256/256_ObjectCategories"


class Caltech256(ticketkit.Task):
    """Caltech-256: photos of objects; which of 256, or none of them, is it?

    DATA/caltech256/256_ObjectCategories has a folder for each of the 257 classes. The first 60 of
    each are trained on, 15,420, and the other 15,187 are tested on.
    """

    name = "caltech256"
    classes = 257
    metric = "accuracy.per_class"
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, _FOLDER) / _FOLDER
        names = ticketkit.class_folders(folder)
        ticketkit.check_classes(folder, len(names), self.classes)
        return ticketkit.split_classes(folder, names, 60)

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, [_FOLDER], "Caltech256")


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Caltech256
