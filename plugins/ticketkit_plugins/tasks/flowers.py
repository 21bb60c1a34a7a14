"""Task `flowers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_PLACES = tuple(f"flowers-102/{name}" for name in ("jpg", "imagelabels.mat", "setid.mat"))


class Flowers(ticketkit.Task):
    """Oxford 102 Flower: photos of flowers; which of 102 kinds is it?

    DATA/flowers-102 has imagelabels.mat, setid.mat and the folder jpg: the 2,040 of its training
    and validation sets to train on, the 6,149 of its test set to test on.
    """

    name = "flowers"
    classes = 102
    metric = "accuracy.per_class"
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, *_PLACES) / "flowers-102"
        (labels,) = ticketkit.read_mat(folder / "imagelabels.mat", "labels")
        path = folder / "setid.mat"
        train, valid, test = ticketkit.read_mat(path, "trnid", "valid", "tstid")
        with ticketkit.reading(path):
            return {
                "train": self._files(folder, [*train.tolist(), *valid.tolist()], labels.tolist()),
                "test": self._files(folder, test.tolist(), labels.tolist()),
            }

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, _PLACES, "Flowers102")

    def _files(self, folder: Path, numbers: list[int], labels: list[int]) -> ticketkit.ImageFiles:
        """The pictures of these numbers; they and the labels are counted from 1."""
        names = [f"jpg/image_{number:05d}.jpg" for number in numbers]
        targets = [labels[number - 1] - 1 for number in numbers]
        return ticketkit.ImageFiles(folder, names, targets, self.classes)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Flowers
