"""A sample of block scores, and the bracket that it puts around the end of a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ticketkit.radix import ascending
from ticketkit.scoring import reader_of
from ticketkit.tiled import Tiled
from ticketkit.tiling import Floats, Integers

# Up to this many blocks are all collected: a bracket would save nothing.
FEW = 200_000
# Blocks in a sample of a larger network, at least. What a sample costs grows with its size s, what
# is collected inside the bracket with blocks / sqrt(s): together they are least at blocks^(2/3).
_FEWEST, _MOST = 2**15, 2**20
# A score that has a greater share than this of the sample is an edge of equal scores.
_HEAVY = 0.03


@dataclass(frozen=True)
class Bracket:
    """Scores [low, high] between which a budget is thought to end.

    It is known to end in [floor, ceiling]. Where `tied`, low and high are one score that a great
    many blocks share.
    """

    low: float
    high: float
    floor: float
    ceiling: float
    tied: bool = False
    margin: float = 3.0

    def raised(self, dtype: np.dtype[Any]) -> Bracket:
        """What is known after a pass that marked too much: the budget ends above this bracket."""
        floor = float(np.nextafter(dtype.type(self.high), dtype.type(np.inf)))
        return replace(self, floor=floor, margin=4 * self.margin)

    def lowered(self, dtype: np.dtype[Any]) -> Bracket:
        """What is known after a pass that found too little: the budget ends below this bracket."""
        ceiling = float(np.nextafter(dtype.type(self.low), dtype.type(-np.inf)))
        return replace(self, ceiling=ceiling, margin=4 * self.margin)


class Sample:
    """Scores of blocks at random places, each standing for so many weights of its layer."""

    def __init__(
        self,
        places: Sequence[Floats],
        weights: Sequence[float],
        dtype: np.dtype[Any],
        ties: bool,
    ) -> None:
        """For each layer its scores, one row a place, and the weights that a score stands for."""
        self._drawn = np.concatenate([layer.reshape(-1) for layer in places])
        self._starts = _starts(np.repeat([p.shape[1] for p in places], [len(p) for p in places]))
        self._layers = _starts(np.array([len(layer) for layer in places]))
        self._each = np.repeat(weights, [len(layer) for layer in places])
        order = ascending(self._drawn)[::-1]
        each = np.repeat(weights, [layer.size for layer in places])[order]
        self._scores = self._drawn[order].astype(np.float64)
        seen = int(np.searchsorted(-self._scores, np.inf))  # what scores -inf is in no block
        self._scores = self._scores[:seen]
        self._ranks = np.cumsum(each[:seen])
        self._ties = ties
        self.dtype = dtype
        limits = np.finfo(dtype)
        self.everything = Bracket(*2 * (float(limits.min), float(limits.max)))

    @classmethod
    def draw(cls, layers: Sequence[Tiled], scores: Mapping[str, torch.Tensor]) -> Sample:
        """Sample every layer evenly: it decides a selection's speed, never its result."""
        generator = np.random.default_rng(0)
        blocks = sum(layer.tiling.count for layer in layers)
        # Where all are collected, only the dtype of their scores is of interest.
        wanted = 1 if blocks <= FEW else min(_MOST, max(_FEWEST, int(blocks ** (2 / 3))))
        places, weights = [], []
        for layer in layers:
            share = min(layer.tiling.count, -(-wanted * layer.tiling.count // max(1, blocks)))
            drawn = layer.sample(reader_of(scores, layer.name), share, generator)
            places.append(drawn)
            weights.append(layer.weights / max(1, int((drawn > -np.inf).sum())))
        unit = all(layer.tiling.size == 1 for layer in layers)
        narrow = unit and all(drawn.dtype == np.float32 for drawn in places)
        dtype = np.dtype(np.float32 if narrow else np.float64)
        if blocks <= FEW:
            places = [np.full((1, 1), -np.inf, dtype) for _ in places]
        return cls(places, weights, dtype, all(layer.plain for layer in layers))

    def bracket(self, keep: int, known: Bracket | None = None) -> Bracket:
        """A bracket around the score at which the best `keep` weights end."""
        known = known or self.everything
        allowed = np.flatnonzero((self._scores >= known.floor) & (self._scores <= known.ceiling))
        if not len(allowed):
            return replace(known, low=known.floor, high=known.ceiling, tied=False)
        ends = int(np.searchsorted(self._ranks, keep))
        middle = float(self._scores[np.clip(ends, allowed[0], allowed[-1])])
        margin = known.margin * (self._spread(middle) + 1)
        low = min(middle, self._score_at(keep + margin, known.floor))
        high = max(middle, self._score_at(keep - margin, known.ceiling))
        low, high = max(low, known.floor), min(high, known.ceiling)
        heavy = self._heavy(low, high) if self._ties else []
        if middle in heavy:
            return replace(known, low=middle, high=middle, tied=True)
        low = max([low, *(self._next(score, np.inf) for score in heavy if score < middle)])
        high = min([high, *(self._next(score, -np.inf) for score in heavy if score > middle)])
        return replace(known, low=low, high=high, tied=False)

    def _spread(self, score: float) -> float:
        """The standard deviation of the sample's count of the weights above a score.

        Neighbours resemble each other, so places are counted, not blocks. Each place stands for a
        stretch of its layer: how one differs from the next tells how much chance decides.
        """
        above = np.add.reduceat(self._drawn >= score, self._starts, dtype=np.int64)
        steps = np.diff(above) * self._each[1:]
        steps[self._layers[1:] - 1] = 0  # from one layer to the next
        return math.sqrt(float(np.sum(steps**2)) / 2)

    def _heavy(self, low: float, high: float) -> list[float]:
        """The scores in [low, high] that a great many blocks share."""
        inside = self._scores[(self._scores >= low) & (self._scores <= high)]
        if len(inside) <= _HEAVY * len(self._scores):
            return []
        scores, counts = np.unique(inside, return_counts=True)
        heavy: list[float] = scores[counts > _HEAVY * len(self._scores)].tolist()
        return heavy

    def _next(self, score: float, towards: float) -> float:
        return float(np.nextafter(self.dtype.type(score), self.dtype.type(towards)))

    def _score_at(self, rank: float, otherwise: float) -> float:
        """The score at a rank counted in weights; `otherwise` beyond either end of the sample."""
        at = int(np.searchsorted(self._ranks, rank))
        return float(self._scores[at]) if 0 < at < len(self._scores) else otherwise


def _starts(lengths: Integers) -> Integers:
    """Where each of these stretches starts, laid end to end."""
    return np.cumsum(lengths) - lengths
