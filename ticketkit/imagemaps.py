"""Pictures in files, each with a file that maps its pixels to classes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from ticketkit.errors import InputError, printable
from ticketkit.files import sha256
from ticketkit.imagefiles import decoded, digest_of_files
from ticketkit.losses import IGNORED


class ImageMaps(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A data set of picture files of any size, each with a map: a file whose pixels are classes.

    `pairs` are paths of pictures and maps below `root`. An item is (picture, map): RGB in uint8,
    shape (3, height, width), and uint8 (height, width), the palette's indices or the grey of the
    file, 0 to classes - 1 or 255, which is ignored. An `InputError` where there are none, and for
    a pair that cannot be read, or does not fit, with index and path.
    """

    def __init__(self, root: Path, pairs: Iterable[tuple[str, str]], classes: int) -> None:
        self.root, self.pairs, self.classes = root, list(pairs), classes
        if not self.pairs:
            raise InputError(f"{printable(str(root))}: there are no pictures")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        picture_path, map_path = (self.root / name for name in self.pairs[index])
        picture = decoded(index, picture_path)
        found = decoded(index, map_path, mode=None)
        where = f"picture {index}, {printable(str(map_path))}"
        if found.shape != (1, *picture.shape[1:]) or found.dtype != torch.uint8:
            shape = " x ".join(map(str, found.shape[1:]))
            raise InputError(
                f"{where}: a map of {shape} pixels and {len(found)} channels of {found.dtype}, for "
                f"a picture of {picture.shape[1]} x {picture.shape[2]}: expected one uint8 a pixel"
            )
        bad = (found >= self.classes) & (found != IGNORED)
        if bad.any():
            raise InputError(
                f"{where}: classes are 0 to {self.classes - 1}, or {IGNORED} where they are "
                f"ignored; found {int(found[bad][0])}"
            )
        return picture, found[0]

    def digest(self) -> str:
        """A SHA-256 of all names and of the files' sizes: not of their content."""
        swapped = [(name, picture) for picture, name in self.pairs]
        both = (digest_of_files(self.root, entries) for entries in (self.pairs, swapped))
        return sha256("".join(both).encode())
