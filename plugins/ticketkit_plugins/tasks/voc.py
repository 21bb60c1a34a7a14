"""Task `voc`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "VOCdevkit/VOC2012"


class Voc(ticketkit.Task):
    """PASCAL VOC 2012 segmentation: which pixel is of which of 20 kinds of thing, or of the ground?

    DATA/VOCdevkit/VOC2012 has JPEGImages, SegmentationClass and ImageSets: its train, 1,464 photos
    of any size, to train on, its val, 1,449, to test on. Class 0 is the ground; 255, the rims of
    things, is ignored.
    """

    name = "voc"
    classes = 21
    segmentation = True
    metric = "miou"
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageMaps]:
        folder = ticketkit.located(self, root, _FOLDER) / _FOLDER
        return {"train": self._read(folder, "train"), "test": self._read(folder, "val")}

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, (_FOLDER,), "VOCSegmentation")

    def _read(self, folder: Path, split: str) -> ticketkit.ImageMaps:
        names = ticketkit.read_lines(folder / "ImageSets" / "Segmentation" / f"{split}.txt")
        pairs = [(f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png") for name in names]
        return ticketkit.ImageMaps(folder, pairs, self.classes)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Voc
