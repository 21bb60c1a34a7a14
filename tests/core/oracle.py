"""An independent reference for selection: plain NumPy, everything sorted, nothing clever."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def blocks_of(shape: tuple[int, ...], block: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Every block of a shape in C order, as slices."""
    sides: list[Iterable[slice]] = [
        [slice(start, min(start + b, s)) for start in range(0, s, b)]
        for s, b in zip(shape, block, strict=True)
    ]
    return list(itertools.product(*sides))


def select(
    scores: Mapping[str, Array],
    block: Any,
    budget: int,
    *,
    allow_empty_layers: bool = False,
    within: Mapping[str, Array] | None = None,
) -> dict[str, Array] | None:
    """The masks that the rules define; None where the best blocks exceed the budget."""
    ranked: list[tuple[float, str, int, int, tuple[slice, ...]]] = []
    fronts: list[tuple[float, str, int, int, tuple[slice, ...]]] = []
    for name in sorted(scores):
        alive = np.ones(scores[name].shape, bool) if within is None else within[name]
        entries = []
        for place, where in enumerate(blocks_of(scores[name].shape, block(scores[name].shape))):
            values = scores[name][where][alive[where]]
            if values.size:
                mean = math.fsum(values.astype(np.float64)) / values.size
                entries.append((-mean, name, place, values.size, where))
        entries.sort(key=lambda entry: (entry[0], entry[2]))
        if entries and not allow_empty_layers:
            fronts.append(entries.pop(0))
        ranked += entries
    ranked.sort(key=lambda entry: entry[:3])
    keep = {name: np.zeros(value.shape, bool) for name, value in scores.items()}
    room = budget - sum(entry[3] for entry in fronts)
    if room < 0:
        return None
    kept = list(fronts)
    for entry in ranked:
        if entry[3] > room:
            break
        room -= entry[3]
        kept.append(entry)
    for _, name, _, _, where in kept:
        keep[name][where] = True if within is None else within[name][where]
    return keep if kept else None
