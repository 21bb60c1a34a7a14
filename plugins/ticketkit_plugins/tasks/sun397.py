"""Task `sun397`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path


class Sun397(ticketkit.Task):
    """SUN397: photos of places; which of 397 is it?

    DATA/SUN397 has ClassName.txt and the pictures, in a folder for each class. As the first of its
    own partitions has it, 50 of each class are trained on, and 50 tested on: here the first 50 by
    their file names, which tell nothing, and the next 50.
    """

    name = "sun397"
    classes = 397
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, "SUN397") / "SUN397"
        lines = ticketkit.read_lines(folder / "ClassName.txt")
        ticketkit.check_classes(folder / "ClassName.txt", len(lines), self.classes)
        return ticketkit.split_classes(folder, [line.lstrip("/") for line in lines], 50, 50)

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, ["SUN397"], "SUN397")


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Sun397
