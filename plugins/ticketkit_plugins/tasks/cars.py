"""Task `cars`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path


class Cars(ticketkit.Task):
    """Stanford Cars: photos of cars; which of 196 models is it?

    DATA/stanford_cars has the folders cars_train, with 8,144 to train on, cars_test, with 8,041 to
    test on, and devkit, with cars_train_annos.mat; beside them cars_test_annos_withlabels.mat. Its
    owners offer it no more, so nothing is downloaded.
    """

    name = "cars"
    classes = 196
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, "stanford_cars") / "stanford_cars"
        return {
            "train": self._read(folder, "cars_train", folder / "devkit/cars_train_annos.mat"),
            "test": self._read(folder, "cars_test", folder / "cars_test_annos_withlabels.mat"),
        }

    def _read(self, folder: Path, images: str, path: Path) -> ticketkit.ImageFiles:
        (rows,) = ticketkit.read_mat(path, "annotations")
        with ticketkit.reading(path):
            names = [f"{images}/{row['fname']}" for row in rows]
            targets = [int(row["class"]) - 1 for row in rows]
        return ticketkit.ImageFiles(folder, names, targets, self.classes)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Cars
