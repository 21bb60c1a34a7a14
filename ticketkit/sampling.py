"""A sample of block scores, and the bracket that it puts around the end of a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ticketkit.scoring import reader_of
from ticketkit.tiled import Tiled
from ticketkit.tiling import Floats

# Up to this many blocks are all collected: a bracket would save nothing.
FEW = 200_000
# Blocks in a sample of a larger network, at least. What a sample costs grows with its size s, what
# is collected inside the bracket with blocks / sqrt(s): together they are least at blocks^(2/3).
_FEWEST = 2**15
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
    margin: float = 4.0

    def raised(self, dtype: np.dtype[Any]) -> Bracket:
        """What is known after a pass that marked too much: the budget ends above this bracket."""
        floor = float(np.nextafter(dtype.type(self.high), dtype.type(np.inf)))
        return replace(self, floor=floor, margin=4 * self.margin)

    def lowered(self, dtype: np.dtype[Any]) -> Bracket:
        """What is known after a pass that found too little: the budget ends below this bracket."""
        ceiling = float(np.nextafter(dtype.type(self.low), dtype.type(-np.inf)))
        return replace(self, ceiling=ceiling, margin=4 * self.margin)


class Sample:
    """Scores of blocks at random places, each standing for `weight` weights of the whole."""

    def __init__(self, scores: Floats, weights: Floats, dtype: np.dtype[Any], ties: bool) -> None:
        order = np.argsort(scores)[::-1]
        self._scores = scores[order]
        self._ranks = np.cumsum(weights[order])
        self._squares = np.cumsum(weights[order] ** 2)
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
        wanted = 1 if blocks <= FEW else max(_FEWEST, int(blocks ** (2 / 3)))
        drawn, weights = [], []
        for layer in layers:
            share = min(layer.tiling.count, -(-wanted * layer.tiling.count // max(1, blocks)))
            values = layer.sample(reader_of(scores, layer.name), share, generator)
            drawn.append(values)
            weights.append(np.full(len(values), layer.weights / max(1, len(values))))
        unit = all(layer.tiling.size == 1 for layer in layers)
        narrow = unit and all(values.dtype == np.float32 for values in drawn)
        dtype = np.dtype(np.float32 if narrow else np.float64)
        together = np.concatenate(drawn).astype(np.float64)
        seen = together > -np.inf
        if blocks <= FEW:
            seen[:] = False
        plain = all(layer.plain for layer in layers)
        return cls(together[seen], np.concatenate(weights)[seen], dtype, plain)

    def bracket(self, keep: int, known: Bracket | None = None) -> Bracket:
        """A bracket around the score at which the best `keep` weights end."""
        known = known or self.everything
        allowed = np.flatnonzero((self._scores >= known.floor) & (self._scores <= known.ceiling))
        if not len(allowed):
            return replace(known, low=known.floor, high=known.ceiling, tied=False)
        ends = int(np.searchsorted(self._ranks, keep))
        middle = float(self._scores[np.clip(ends, allowed[0], allowed[-1])])
        share = min(1.0, keep / self._ranks[-1])
        variance = float(self._squares[min(ends, len(self._squares) - 1)]) * (1 - share)
        margin = known.margin * math.sqrt(variance + 1)
        low = min(middle, self._score_at(keep + margin, known.floor))
        high = max(middle, self._score_at(keep - margin, known.ceiling))
        low, high = max(low, known.floor), min(high, known.ceiling)
        heavy = self._heavy(low, high) if self._ties else []
        if middle in heavy:
            return replace(known, low=middle, high=middle, tied=True)
        low = max([low, *(self._next(score, np.inf) for score in heavy if score < middle)])
        high = min([high, *(self._next(score, -np.inf) for score in heavy if score > middle)])
        return replace(known, low=low, high=high, tied=False)

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
