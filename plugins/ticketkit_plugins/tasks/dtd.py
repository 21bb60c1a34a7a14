"""Task `dtd`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDERS = ("dtd/dtd/labels", "dtd/dtd/images")


class Dtd(ticketkit.Task):
    """DTD: textures; which of 47 words describes it?

    DATA/dtd/dtd has the folders images and labels: 3,760 to train on, those of train1.txt and
    val1.txt, and the 1,880 of test1.txt to test on.
    """

    name = "dtd"
    classes = 47
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, *_FOLDERS) / "dtd/dtd"
        train, valid, test = (folder / f"labels/{name}1.txt" for name in ("train", "val", "test"))
        words = sorted({line.partition("/")[0] for line in ticketkit.read_lines(train)})
        ticketkit.check_classes(train, len(words), self.classes)
        return {
            "train": self._read(folder, words, train, valid),
            "test": self._read(folder, words, test),
        }

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, _FOLDERS, "DTD")

    def _read(self, folder: Path, words: list[str], *lists: Path) -> ticketkit.ImageFiles:
        names: list[str] = []
        targets: list[int] = []
        for path in lists:
            lines = ticketkit.read_lines(path)
            with ticketkit.reading(path):
                targets += [words.index(line.partition("/")[0]) for line in lines]
            names += [f"images/{line}" for line in lines]
        return ticketkit.ImageFiles(folder, names, targets, self.classes)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Dtd
