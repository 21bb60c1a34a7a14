"""A layer in a selection whose block scores an allocation rescales before they are ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from ticketkit.bits import BlockBits, PackedBits
from ticketkit.scoring import Reader
from ticketkit.tiled import Tiled
from ticketkit.tiling import Floats, Integers, Span, Tiling

Rescale = Callable[[torch.Tensor], torch.Tensor]


class Rescaled(Tiled):
    """A layer whose blocks are ranked by what `rescale` makes of all their scores at once.

    The scores of its blocks are held while it is read, and no longer.
    """

    def __init__(
        self, name: str, tiling: Tiling, within: PackedBits | BlockBits | None, rescale: Rescale
    ) -> None:
        super().__init__(name, tiling, within)
        self._rescale = rescale

    def pieces(self, reader: Reader) -> Iterator[tuple[Span, Floats, Integers | int]]:
        """As of any layer, with the scores rescaled."""
        scores = np.empty(self.tiling.count, np.float64)
        found = []
        for span, values, sizes in super().pieces(reader):
            scores[span.first : span.last] = values
            found.append((span, sizes))
        ranked = slice(None) if self.within is None else scores > -np.inf
        scores[ranked] = self._rescale(torch.from_numpy(scores[ranked])).numpy()
        for span, sizes in found:
            yield span, scores[span.first : span.last], sizes

    def sample(self, reader: Reader, wanted: int, generator: np.random.Generator) -> Floats:
        """Scores at random places, a row each: all have to be computed, so runs save nothing."""
        scores = np.concatenate([values for _, values, _ in self.pieces(reader)])
        places = generator.choice(len(scores), min(wanted, len(scores)), replace=False)
        return scores[np.sort(places)].reshape(-1, 1)
