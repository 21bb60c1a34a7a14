"""Task `glyph-scenes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ticketkit

if TYPE_CHECKING:
    from pathlib import Path

    import torch

# Digits that a scene has at most.
_MOST = 4


@dataclass(frozen=True)
class GlyphScenes(ticketkit.Task):
    """Digits on textured ground: which pixel belongs to which digit, or to the ground?

    Class 0 is the ground, class 1 + d is the digit d. A scene of `size` x `size` pixels has one to
    four digits, each near a corner of its own, brighter than the ground; a later one may cover some
    of an earlier one. A pixel that a digit covers by half or more has its class; one that it covers
    by a quarter or more is 255, ignored. `count` scenes to train on, and a quarter as many to test
    on, are drawn from two streams of the `seed`. It needs ticketkit[demo].
    """

    name = "glyph-scenes"
    classes = 11
    segmentation = True
    metric = "miou"
    size: int = 48
    count: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        ticketkit.check_whole(self, "size", 16)
        ticketkit.check_whole(self, "count", 4)
        ticketkit.check_whole(self, "seed", 0)

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.Pictures]:
        return ticketkit.cached_splits(self, root, self._drawn, ("matplotlib", "pillow"))

    def _drawn(self) -> dict[str, ticketkit.Pictures]:
        return {
            "train": self._scenes(self.count, 2 * self.seed),
            "test": self._scenes(self.count // 4, 2 * self.seed + 1),
        }

    def _scenes(self, count: int, stream: int) -> ticketkit.Pictures:
        import torch

        generator = torch.Generator().manual_seed(stream)
        scenes = self._ground(count, generator)
        targets = torch.zeros(count, self.size, self.size, dtype=torch.uint8)
        numbers = torch.randint(1, _MOST + 1, (count,), generator=generator)
        corners = torch.rand(count, _MOST, generator=generator).argsort(1)
        for place in range(_MOST):
            digits = torch.randint(10, (count,), generator=generator)
            cover = self._placed(digits, corners[:, place], generator)
            cover[numbers <= place] = 0
            light = 0.6 + 0.4 * torch.rand(count, 1, 1, generator=generator)
            scenes += cover * (light - scenes)
            targets[cover >= 0.25] = ticketkit.IGNORED
            targets = torch.where(cover >= 0.5, (1 + digits)[:, None, None].byte(), targets)
        return ticketkit.Pictures((255 * scenes[:, None]).round().to(torch.uint8), targets)

    def _ground(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Smooth noise of three grains, in [0, 0.5]: shape (count, size, size)."""
        import torch

        ground = torch.zeros(count, 1, self.size, self.size)
        for points in (3, 8, self.size):
            noise = torch.rand(count, 1, points, points, generator=generator)
            ground += torch.nn.functional.interpolate(noise, ground.shape[2:], mode="bilinear")
        return ground[:, 0] / 6

    def _placed(
        self, digits: torch.Tensor, corners: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """How much of each pixel a digit covers, near corner 0, 1, 2 or 3: (n, size, size)."""
        import torch

        count, side = len(digits), self.size * 5 // 8
        glyphs = ticketkit.draw_glyphs("".join(map(str, digits.tolist())), side, generator)
        far = torch.stack([corners // 2, corners % 2]) > 0
        inward = torch.rand(2, count, generator=generator) / 4
        starts = (self.size - side) * torch.where(far, 1 - inward, inward)
        rows, columns = starts.round().long()[:, :, None] + torch.arange(side)
        cover = torch.zeros(count, self.size, self.size)
        cover[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]] = glyphs
        return cover


@ticketkit.hookimpl
def ticketkit_tasks() -> Iterator[type[ticketkit.Task]]:
    yield GlyphScenes
