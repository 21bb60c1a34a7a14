"""Task `pets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDERS = ("oxford-iiit-pet/annotations", "oxford-iiit-pet/images")


class Pets(ticketkit.Task):
    """Oxford-IIIT Pet: photos of cats and dogs; which of 37 breeds is it?

    DATA/oxford-iiit-pet has annotations and images: the 3,680 of trainval to train on, the 3,669 of
    test to test on.
    """

    name = "pets"
    classes = 37
    metric = "accuracy.per_class"
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, *_FOLDERS) / "oxford-iiit-pet"
        return {"train": self._read(folder, "trainval"), "test": self._read(folder, "test")}

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, _FOLDERS, "OxfordIIITPet")

    def _read(self, folder: Path, split: str) -> ticketkit.ImageFiles:
        path = folder / "annotations" / f"{split}.txt"
        rows = [line.split() for line in ticketkit.read_lines(path)]
        with ticketkit.reading(path):
            targets = [int(row[1]) - 1 for row in rows]
        names = [f"images/{row[0]}.jpg" for row in rows]
        return ticketkit.ImageFiles(folder, names, targets, self.classes)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Pets
