"""Order by the bits of floating numbers, sixteen at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from ticketkit.tiling import Floats, Integers

Keys = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]

_DIGIT = 16
# Numbers that are looked at at a time: their keys stay in cache.
_BATCH = 2**18
# Up to this many numbers, ordering them takes less time than counting all digits there are.
_FEW = 2**_DIGIT


def keys_of(scores: Floats) -> Keys:
    """Unsigned integers in the order of float32 or float64 numbers, none of them NaN."""
    width = 8 * scores.itemsize
    bits = scores.view(f"i{scores.itemsize}")
    sign = bits.dtype.type(-1 << (width - 1))
    found: Keys = (bits ^ (bits >> (width - 1) | sign)).view(f"u{scores.itemsize}")
    return found


def ascending(scores: Floats) -> Integers:
    """`np.argsort`, in less than half the time for float32: a radix sort of the bits, by halves."""
    if scores.dtype != np.float32:
        return np.argsort(scores)
    keys = keys_of(scores)
    order = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")
    return order[np.argsort((keys >> 16).astype(np.uint16)[order], kind="stable")]


def kth_highest(columns: Sequence[Floats], k: int) -> np.floating[Any]:
    """The k-th highest of all numbers in the columns, k from 1; the columns are left as they are.

    By histograms of their digits, the highest first: no copy of all of them is made.
    """
    dtype = columns[0].dtype
    if (total := sum(map(len, columns))) <= _FEW:
        place = total - k
        found: np.floating[Any] = np.partition(np.concatenate(columns), place)[place]
        return found
    prefix = 0
    for shift in range(8 * dtype.itemsize - _DIGIT, -1, -_DIGIT):
        counts = np.zeros(2**_DIGIT, np.int64)
        for keys in _batches(columns):
            if shift + _DIGIT < 8 * dtype.itemsize:
                keys = keys[keys >> (shift + _DIGIT) == prefix]
            digits = (keys >> shift).astype(np.uint16)
            counts += np.bincount(digits, minlength=2**_DIGIT)
        from_top = np.cumsum(counts[::-1])
        place = int(np.searchsorted(from_top, k))
        k -= int(from_top[place] - counts[::-1][place])
        prefix = prefix << _DIGIT | (2**_DIGIT - 1 - place)
    return _score_of(prefix, dtype)


def _batches(columns: Sequence[Floats]) -> Iterator[Keys]:
    """The keys of all columns, several short ones together, a long one in pieces."""
    pending: list[Floats] = []
    for column in columns:
        pieces = range(0, len(column), _BATCH)
        for piece in (column[start : start + _BATCH] for start in pieces):
            if sum(map(len, pending)) + len(piece) > _BATCH:
                yield keys_of(np.concatenate(pending))
                pending = []
            pending.append(piece)
    if pending:
        yield keys_of(np.concatenate(pending))


def _score_of(key: int, dtype: np.dtype[Any]) -> np.floating[Any]:
    """The number of a key."""
    width = 8 * dtype.itemsize
    top = 1 << (width - 1)
    bits = key ^ top if key & top else key ^ ((1 << width) - 1)
    found = np.array([bits], f"u{dtype.itemsize}").view(dtype)
    return cast("np.floating[Any]", found[0])
