"""Task `svhn`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


class Svhn(ticketkit.Task):
    """SVHN: house numbers in the street, 32x32 each: which digit is in the middle?

    DATA has train_32x32.mat, 73,257 digits to train on, and test_32x32.mat, 26,032 to test on: not
    the extra ones. They are read into memory.
    """

    name = "svhn"
    classes = 10
    normalisation = MappingProxyType(
        {"mean": (0.4377, 0.4438, 0.4728), "std": (0.1980, 0.2010, 0.1970)}
    )

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.Pictures]:
        folder = ticketkit.located(self, root, *_FILES.values())
        return {split: self._read(folder / file) for split, file in _FILES.items()}

    def download(self, root: Path | None) -> None:
        for split, file in _FILES.items():
            ticketkit.download_set(self, root, [file], "SVHN", split=split)

    def _read(self, path: Path) -> ticketkit.Pictures:
        images, labels = ticketkit.read_mat(path, "X", "y")
        with ticketkit.reading(path):
            # A picture is (height, width, channels, n) there, and the digit 0 is class 10.
            images = images.transpose(3, 2, 0, 1)
            labels[labels == 10] = 0
        return ticketkit.labelled(path, images, labels, self.classes)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Svhn
