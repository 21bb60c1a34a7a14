"""Files that data sets come with: lists, arrays of MATLAB's; damaged ones are told in a line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ticketkit.errors import InputError, TicketkitError, printable
from ticketkit.files import check_input
from ticketkit.pictures import Pictures


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong inside into an `InputError` that names the file, missing or damaged."""
    check_input(path)
    try:
        yield
    except TicketkitError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise InputError(f"{printable(str(path))}: not as it was expected: {reason}") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without blank ones and what surrounds them."""
    with reading(path):
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]


def read_mat(path: Path, *names: str) -> list[Any]:
    """The variables of these names in a file of MATLAB's, NumPy arrays without axes of length 1.

    A single number is an array of one axis.
    """
    from scipy.io import loadmat

    with reading(path):
        found = loadmat(path, squeeze_me=True, variable_names=names)
        return [np.atleast_1d(found[name]) for name in names]


def check_classes(path: Path, found: int, expected: int) -> None:
    """Raise an `InputError` unless a file or folder tells as many classes as it should."""
    if found != expected:
        raise InputError(f"{printable(str(path))}: expected {expected} classes, found {found}")


def labelled(path: Path, images: Any, labels: Any, classes: int) -> Pictures:
    """The pictures of a file: `images`, uint8 (n, channels, height, width), and n `labels`.

    Both are NumPy arrays, or lists. An `InputError` names the file where they are not what they
    should be, or a label is none of 0 to classes - 1.
    """
    with reading(path):
        numbers = np.asarray(labels)
        if numbers.dtype.kind not in "iu":
            raise TypeError(f"labels are whole numbers, found {numbers.dtype}")
        targets = torch.from_numpy(numbers.astype(np.int64))
        check_range(targets, classes)
        try:
            return Pictures(torch.from_numpy(np.array(images, order="C")), targets)
        except InputError as error:  # which does not know the file
            raise ValueError(str(error)) from None


def check_range(targets: torch.Tensor, classes: int) -> None:
    """Raise a `ValueError` for a target that is no class."""
    bad = ((targets < 0) | (targets >= classes)).nonzero()
    if len(bad):
        place = int(bad[0])
        raise ValueError(f"item {place} has class {int(targets[place])}, of 0 to {classes - 1}")
