"""Task `fashion-mnist`."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "FashionMNIST/raw"


class FashionMnist(ticketkit.Task):
    """Fashion-MNIST: 28x28 pictures of clothes, in grey, of ten kinds.

    Its four files lie in DATA/FashionMNIST/raw, packed by gzip or not: 60,000 pictures to train on,
    10,000 to test on. They are read into memory.
    """

    name = "fashion-mnist"
    classes = 10
    normalisation = MappingProxyType({"mean": (0.2860,), "std": (0.3530,)})

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.Pictures]:
        folder = ticketkit.located(self, root, _FOLDER) / _FOLDER
        return {"train": self._read(folder, "train"), "test": self._read(folder, "t10k")}

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, [_FOLDER], "FashionMNIST")

    def _read(self, folder: Path, split: str) -> ticketkit.Pictures:
        path = _path(folder, f"{split}-images-idx3-ubyte")
        images = _array(path, 3)[:, None]
        labels = _array(_path(folder, f"{split}-labels-idx1-ubyte"), 1)
        return ticketkit.labelled(path, images, labels, self.classes)


def _path(folder: Path, name: str) -> Path:
    """The file of this name, or the one that gzip made of it."""
    packed = folder / f"{name}.gz"
    return packed if packed.exists() and not (folder / name).exists() else folder / name


def _array(path: Path, axes: int) -> Any:
    """The bytes in an IDX file: two of zero, 8 for bytes, the axes and the length of each."""
    import numpy as np

    with ticketkit.reading(path):
        whole = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if whole[:4] != bytes((0, 0, 8, axes)):
            raise ValueError(
                f"no IDX file of bytes in {axes} axes: it begins with {whole[:4].hex()}"
            )
        head = 4 + 4 * axes
        shape = np.frombuffer(whole[4:head], ">u4").tolist()
        if len(whole) - head != math.prod(shape):
            raise ValueError(
                f"expected {math.prod(shape)} bytes of data, found {len(whole) - head}"
            )
        return np.frombuffer(whole, np.uint8, offset=head).reshape(shape)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield FashionMnist
