"""Task `folder`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Folder(ticketkit.Task):
    """Pictures of your own, in a folder for each class.

    The folder at `path`, below DATA unless it is absolute, has the folders train and test (or val,
    or valid), and in each a folder for each class, in the order of their names.
    """

    name = "folder"
    normalisation = ticketkit.PHOTOGRAPHS
    path: str

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.ImageFiles]:
        return ticketkit.image_folders(self._folder(root))

    def classes_in(self, root: Path | None) -> int:
        return len(ticketkit.class_folders(self._folder(root) / "train"))

    def _folder(self, root: Path | None) -> Path:
        return ticketkit.located(self, root, self.path) / self.path


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Folder
