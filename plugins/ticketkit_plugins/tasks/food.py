"""Task `food`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDERS = ("food-101/meta", "food-101/images")


class Food(ticketkit.Task):
    """Food-101: photos of dishes; which of 101 is it?

    DATA/food-101 has the folders images and meta, where train.json lists 75,750 to train on, and
    test.json 25,250 to test on.
    """

    name = "food"
    classes = 101
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, *_FOLDERS) / "food-101"
        return {split: self._read(folder, split) for split in ("train", "test")}

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, _FOLDERS, "Food101")

    def _read(self, folder: Path, split: str) -> ticketkit.ImageFiles:
        path = folder / "meta" / f"{split}.json"
        with ticketkit.reading(path):
            listed = json.loads(path.read_text(encoding="utf-8"))
            dishes = sorted(listed)
            ticketkit.check_classes(path, len(dishes), self.classes)
            pairs = [(name, dishes.index(dish)) for dish in listed for name in listed[dish]]
        names = [f"images/{name}.jpg" for name, _ in pairs]
        return ticketkit.ImageFiles(folder, names, [t for _, t in pairs], self.classes)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Food
