"""The batches of CIFAR-10 and CIFAR-100: pickles, of which nothing is run."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ticketkit.datafiles import labelled, reading
from ticketkit.pictures import Pictures

_SIDE = 32


def cifar_pictures(folder: Path, files: Sequence[str], labels: str, classes: int) -> Pictures:
    """The pictures of the batches `files` in `folder`, one after the other, RGB of 32 x 32.

    `labels` is the key of a batch under which its classes are. An `InputError` names a batch that
    is missing, damaged, or holds anything but arrays, text and numbers.
    """
    batches = [_batch(folder / name, labels, classes) for name in files]
    images = torch.cat([batch.images for batch in batches])
    return Pictures(images, torch.cat([batch.targets for batch in batches]))


def _batch(path: Path, labels: str, classes: int) -> Pictures:
    with reading(path), path.open("rb") as file:
        found = _Arrays(file, encoding="latin1").load()
        pixels = found["data"].reshape(-1, 3, _SIDE, _SIDE)
        return labelled(path, pixels, found[labels], classes)


class _Arrays(pickle.Unpickler):
    """Reads pickles of NumPy arrays, text, numbers, lists and dictionaries, and runs no code."""

    _KNOWN: ClassVar[dict[str, Any]] = {
        "numpy.core.multiarray._reconstruct": lambda *_: np.empty(0, np.uint8),  # then filled
        "numpy.ndarray": None,  # what _reconstruct is told to make
        "numpy.dtype": lambda kind, *_: np.dtype(str(kind), copy=True),
    }

    def find_class(self, module: str, name: str) -> Any:
        found = f"{module}.{name}"
        if found not in self._KNOWN:
            raise pickle.UnpicklingError(f"it holds {found}, and is not loaded")
        return self._KNOWN[found]
