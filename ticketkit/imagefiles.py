"""Pictures in files, which are read one by one as they are needed."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from ticketkit.datafiles import check_range
from ticketkit.errors import InputError, printable


class ImageFiles(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """A data set of picture files of any form that Pillow reads, and of any size.

    `names` are paths below `root`, and `targets` a class for each, 0 to classes - 1. An item is
    (picture, target): RGB in uint8, shape (3, height, width), and a whole number. Grey, palette,
    RGBA and CMYK pictures become RGB as Pillow converts them.

    An `InputError` where there is no picture or a target is no class; for a picture that cannot be
    read it tells index and path.
    """

    def __init__(
        self, root: Path, names: Iterable[str], targets: Sequence[int], classes: int
    ) -> None:
        self.root, self.names = root, list(names)
        self.targets = torch.tensor(targets, dtype=torch.int64)
        if not self.names:
            raise InputError(f"{printable(str(root))}: there are no pictures")
        try:
            check_range(self.targets, classes)
        except ValueError as error:
            raise InputError(f"the list of pictures in {printable(str(root))}: {error}") from None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return decoded(index, self.root / self.names[index]), int(self.targets[index])

    def digest(self) -> str:
        """A SHA-256 of all names, targets and sizes in bytes: not of the files' content.

        An `InputError` for the first file that is missing.
        """
        pairs = zip(self.names, self.targets.tolist(), strict=True)
        return digest_of_files(self.root, ((name, str(target)) for name, target in pairs))


def digest_of_files(root: Path, entries: Iterable[tuple[str, str]]) -> str:
    """A SHA-256 of names below `root`, of what is told of each, and of the files' sizes."""
    digest, folder = hashlib.sha256(), os.fspath(root)  # a Path each costs 20 µs
    for index, (name, told) in enumerate(entries):
        try:
            size = os.stat(f"{folder}{os.sep}{name}").st_size  # noqa: PTH116
        except (OSError, ValueError) as error:  # a name may be none
            path = printable(str(root / name))
            raise InputError(f"picture {index}, {path}: {_why(error)}") from None
        digest.update(os.fsencode(f"{name}\0{told}\0{size}\n"))
    return digest.hexdigest()


def decoded(index: int, path: Path, mode: str | None = "RGB") -> torch.Tensor:
    """The pixels of a picture file, uint8 (channels, height, width), once it is of this mode.

    None leaves the mode as it is. An `InputError` with index and path where it cannot be read.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which change no pixel
            with Image.open(path) as image:
                if image.mode.startswith(("I", "F")):  # which Pillow would clip, not scale
                    raise ValueError(f"mode {image.mode}: expected 8 bits a channel")
                pixels = np.array(image.convert(mode) if mode else image)
    except Exception as error:
        raise InputError(f"picture {index}, {printable(str(path))}: {_why(error)}") from error
    channels = np.atleast_3d(pixels)
    return torch.from_numpy(channels).permute(2, 0, 1).contiguous()


def _why(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "no picture of a form that Pillow reads"
    return f"cannot be read: {printable(getattr(error, 'strerror', None) or str(error))}"
