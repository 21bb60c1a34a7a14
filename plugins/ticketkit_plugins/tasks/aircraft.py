"""Task `aircraft`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "fgvc-aircraft-2013b"


class Aircraft(ticketkit.Task):
    """FGVC-Aircraft: photos of aeroplanes; which of 100 variants is it?

    DATA/fgvc-aircraft-2013b/data has variants.txt, a list for each split, and the images: the
    6,667 of trainval to train on, the 3,333 of test to test on.
    """

    name = "aircraft"
    classes = 100
    metric = "accuracy.per_class"
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, _FOLDER) / _FOLDER / "data"
        variants = ticketkit.read_lines(folder / "variants.txt")
        ticketkit.check_classes(folder / "variants.txt", len(variants), self.classes)
        return {
            "train": self._read(folder, variants, "trainval"),
            "test": self._read(folder, variants, "test"),
        }

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, [_FOLDER], "FGVCAircraft")

    def _read(self, folder: Path, variants: list[str], split: str) -> ticketkit.ImageFiles:
        path = folder / f"images_variant_{split}.txt"
        pairs = [line.partition(" ")[::2] for line in ticketkit.read_lines(path)]
        with ticketkit.reading(path):
            targets = [variants.index(variant) for _, variant in pairs]
        names = [f"images/{number}.jpg" for number, _ in pairs]
        return ticketkit.ImageFiles(folder, names, targets, self.classes)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Aircraft
