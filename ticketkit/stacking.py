"""Samples of a data set, as batches."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import torch
from torch.utils.data import Dataset, default_collate

from ticketkit.errors import InputError
from ticketkit.seeds import Integers


def pixels(images: torch.Tensor) -> torch.Tensor:
    """Pictures in uint8 as float32 in [0, 1]; others as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def fetched(data: Dataset[Any], indices: Sequence[int] | Integers) -> list[tuple[Any, Any]] | Any:
    """The samples at these places: a list of pairs, or a pair of stacked tensors."""
    many = getattr(data, "__getitems__", None)
    if many is not None:
        return many([int(index) for index in indices])
    return [data[int(index)] for index in indices]


def stacked(samples: Any) -> tuple[Any, Any]:
    """A list of pairs as a pair of tensors; what is stacked already as it is.

    An `InputError` for pictures of different shapes.
    """
    if isinstance(samples, tuple):
        return samples
    shapes = [tuple(each[0].shape) for each in samples if isinstance(each[0], torch.Tensor)]
    if other := next((shape for shape in shapes if shape != shapes[0]), None):
        raise InputError(
            f"pictures differ in shape, {shapes[0]} and {other}: give a schedule that crops them, "
            "such as paper or small:augment=crop,size=64"
        )
    inputs, targets = default_collate(samples)
    return inputs, targets


def count_of(data: Any) -> int:
    """How many samples a data set has; 0 for a loader."""
    return len(data) if isinstance(data, Dataset) and isinstance(data, Sized) else 0
