"""Task `cifar100`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER = "cifar-100-python"


class Cifar100(ticketkit.Task):
    """CIFAR-100: 32x32 photos of a hundred kinds of things.

    Its batches for Python lie in DATA/cifar-100-python: 50,000 pictures to train on, 10,000 to test
    on. They are read into memory.
    """

    name = "cifar100"
    classes = 100
    normalisation = MappingProxyType(
        {"mean": (0.5071, 0.4867, 0.4408), "std": (0.2675, 0.2565, 0.2761)}
    )

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.Pictures]:
        folder = ticketkit.located(self, root, _FOLDER) / _FOLDER
        return {
            "train": ticketkit.cifar_pictures(folder, ["train"], "fine_labels", self.classes),
            "test": ticketkit.cifar_pictures(folder, ["test"], "fine_labels", self.classes),
        }

    def download(self, root: Path | None) -> None:
        ticketkit.download_set(self, root, [_FOLDER], "CIFAR100")


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Cifar100
