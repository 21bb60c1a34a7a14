"""Task `cifar10`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "cifar-10-batches-py"
_TRAIN = [f"data_batch_{number}" for number in range(1, 6)]


class Cifar10(ticketkit.Task):
    """CIFAR-10: 32x32 photos of ten kinds of animals and vehicles.

    Its batches for Python lie in DATA/cifar-10-batches-py: 50,000 pictures to train on, 10,000 to
    test on. They are read into memory.
    """

    name = "cifar10"
    classes = 10
    normalisation = MappingProxyType(
        {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}
    )

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.Pictures]:
        folder = ticketkit.located(self, root, _FOLDER) / _FOLDER
        return {
            "train": ticketkit.cifar_pictures(folder, _TRAIN, "labels", self.classes),
            "test": ticketkit.cifar_pictures(folder, ["test_batch"], "labels", self.classes),
        }

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, [_FOLDER], "CIFAR10")


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Cifar10
