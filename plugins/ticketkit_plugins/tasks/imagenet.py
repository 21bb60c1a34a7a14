"""Task `imagenet`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path


class Imagenet(ticketkit.Task):
    """ImageNet (ILSVRC 2012): which of 1000 is it?

    DATA/imagenet has the folders train and val, and in each a folder for each class, named by its
    WordNet ID: in the order of these the classes are counted, as torchvision's networks count them.
    For a part of the classes take the task `folder`. It is to be had from its owners only, so
    nothing is downloaded.
    """

    name = "imagenet"
    classes = 1000
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, "imagenet") / "imagenet"
        return ticketkit.image_folders(folder, self.classes, tests=["val"])


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Imagenet
