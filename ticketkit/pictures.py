"""Pictures with their targets, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ticketkit.digests import digest_of
from ticketkit.errors import InputError, UsageError

DTYPES = {torch.uint8: "U8", torch.int64: "I64"}


class Pictures(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A data set of pictures in memory: a map-style one, as torch's loaders read them.

    `images` are uint8, shape (n, channels, height, width). `targets` are int64, shape (n,), a class
    for each picture; or uint8 or int64, shape (n, height, width), a class for each pixel. A loader
    gets each batch at once, already stacked, so tell it to collate nothing:

    >>> from torch.utils.data import DataLoader
    >>> DataLoader(pictures, batch_size=32, collate_fn=lambda batch: batch)

    An `InputError` for tensors of other shapes or dtypes, a `UsageError` for what is no tensor.
    """

    def __init__(self, images: torch.Tensor, targets: torch.Tensor) -> None:
        _check(images, targets)
        self.images = images.contiguous()
        self.targets = targets.contiguous()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.targets[index]

    def __getitems__(self, indices: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of these pictures, stacked: (images, targets)."""
        places = torch.tensor([int(index) for index in indices], dtype=torch.int64)
        return self.images[places], self.targets[places]

    def subset(self, indices: Sequence[int]) -> Pictures:
        """A copy of these pictures, in this order."""
        return Pictures(*self.__getitems__(indices))

    def digest(self) -> str:
        """The SHA-256 of all images and targets: their dtypes, shapes and bytes."""
        tensors = {"images": self.images, "targets": self.targets}
        return digest_of(
            list(tensors),
            {name: DTYPES[tensor.dtype] for name, tensor in tensors.items()},
            {name: tuple(tensor.shape) for name, tensor in tensors.items()},
            lambda name: tensors[name].numpy(),
        )


def _check(images: Any, targets: Any) -> None:
    for name, tensor in (("images", images), ("targets", targets)):
        if not isinstance(tensor, torch.Tensor):
            raise UsageError(f"{name} is a tensor, found {type(tensor).__name__}")
        if tensor.device.type != "cpu":
            raise UsageError(f"{name} is a tensor on the CPU, found one on {tensor.device}")
    if images.dtype != torch.uint8 or images.dim() != 4 or 0 in images.shape[1:]:
        raise InputError(
            f"images are uint8 of shape (n, channels, height, width), found {_form(images)}"
        )
    count, _, *plane = images.shape
    per_picture = targets.dtype == torch.int64 and list(targets.shape) == [count]
    per_pixel = targets.dtype in DTYPES and list(targets.shape) == [count, *plane]
    if not per_picture and not per_pixel:
        raise InputError(
            f"targets are int64 of shape ({count},), or uint8 or int64 of shape "
            f"({count}, {plane[0]}, {plane[1]}), found {_form(targets)}"
        )


def _form(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
