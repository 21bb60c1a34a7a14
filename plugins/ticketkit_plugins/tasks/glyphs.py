"""Task `glyphs`."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

_CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Glyphs(ticketkit.Task):
    """Letters and digits in 20 faces, distorted: which of 62 characters is it?

    Classes are A-Z, a-z, 0-9, equally many of each, and white on black. `count` pictures of
    `size` x `size` pixels to train on, and a quarter as many to test on, are drawn from two streams
    of the `seed`: see `ticketkit.draw_glyphs`. It needs ticketkit[demo].
    """

    name = "glyphs"
    classes = len(_CHARACTERS)
    size: int = 16
    count: int = 8000
    seed: int = 0

    def __post_init__(self) -> None:
        ticketkit.check_whole(self, "size", 1)
        ticketkit.check_whole(self, "count", 4)
        ticketkit.check_whole(self, "seed", 0)

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.Pictures]:
        return ticketkit.cached_splits(self, root, self._drawn, ("matplotlib", "pillow"))

    def _drawn(self) -> dict[str, ticketkit.Pictures]:
        return {
            "train": self._pictures(self.count, 2 * self.seed),
            "test": self._pictures(self.count // 4, 2 * self.seed + 1),
        }

    def _pictures(self, count: int, stream: int) -> ticketkit.Pictures:
        import torch

        generator = torch.Generator().manual_seed(stream)
        order = torch.randperm(count, generator=generator)
        targets = (torch.arange(count) % self.classes)[order]
        characters = "".join(_CHARACTERS[target] for target in targets.tolist())
        pictures = ticketkit.draw_glyphs(characters, self.size, generator)
        return ticketkit.Pictures((255 * pictures[:, None]).round().to(torch.uint8), targets)


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield Glyphs
