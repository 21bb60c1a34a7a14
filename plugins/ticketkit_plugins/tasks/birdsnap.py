"""Task `birdsnap`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path


class Birdsnap(ticketkit.Task):
    """Birdsnap: photos of birds; which of 500 species is it?

    DATA/birdsnap has the folders train and test (or val, or valid), and in each a folder for each
    class, in the order of their names. It is to be had from its owners only, so nothing is
    downloaded.
    """

    name = "birdsnap"
    classes = 500
    normalisation = ticketkit.PHOTOGRAPHS

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        folder = ticketkit.located(self, root, "birdsnap") / "birdsnap"
        return ticketkit.image_folders(folder, self.classes)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Birdsnap
