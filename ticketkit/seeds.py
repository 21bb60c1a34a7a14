"""Randomness without state: every number is a function of a seed and of where it is used.

Nothing that is drawn has to be remembered, so a training that is resumed draws the same numbers.
The functions are our own, so that another version of NumPy or torch gives the same order of data.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
_Words = np.ndarray[Any, np.dtype[np.uint64]]


def seed_of(*where: int | str) -> int:
    """A seed of 63 bits for what these numbers and words name: `seed_of(seed, "step", 7)`."""
    digest = hashlib.sha256("\0".join(map(str, where)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def order(seed: int, epoch: int, count: int) -> Integers:
    """The order in which an epoch takes `count` samples: a permutation."""
    return np.argsort(_words(seed_of(seed, "order", epoch), np.arange(count)), kind="stable")


def uniform(seed: int, epoch: int, indices: Integers, width: int) -> Floats:
    """Numbers in [0, 1) for the augmentation of samples, (len(indices), width).

    A sample's numbers do not depend on which others are in its batch.
    """
    keys = _words(seed_of(seed, "augment", epoch), np.asarray(indices))
    words = _words(0, keys[:, None] + np.arange(width, dtype=np.uint64))
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _words(seed: int, places: np.ndarray[Any, np.dtype[Any]]) -> _Words:
    """64 bits for each place: the finaliser of splitmix64 (Steele et al. 2014)."""
    z = (places.astype(np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
