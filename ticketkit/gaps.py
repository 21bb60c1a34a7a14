"""The gaps between the coded bits of a row, and back to bits, in pieces that stay in cache.

The coded bits of a row are all that are 1, or all that are 0; a gap is the number of bits between
two of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ticketkit.bits import Bits
from ticketkit.tiling import Booleans, Integers

# Bits per step: no array is larger than about this many numbers.
STEP = 2**17


def gaps_of(bits: Bits, coded: int, start: int, stop: int, share: float) -> Iterator[Integers]:
    """The gaps before the coded bits of [start, stop), in pieces; `start` is a multiple of 8."""
    find, before = _Finder(share), -1
    for first in range(start, stop, STEP):
        last = min(first + STEP, stop)
        packed = bits[first >> 3 : (last + 7) >> 3]
        flags = np.unpackbits(packed if coded else ~packed, bitorder="little", count=last - first)
        positions = find(flags.view(np.bool_))
        if len(positions):
            yield differences(positions, before)
            before = int(positions[-1])
        before -= last - first


class _Finder:
    """`np.flatnonzero`, quick at every density.

    NumPy finds set bits by branches where fewer than a tenth are set, which a processor guesses
    wrong all the time unless it is fewer than a thirtieth. Beside an eighth of set bits more, which
    are cut off again, it takes its way without branches: in a third of the time at a tenth.
    """

    def __init__(self, share: float) -> None:
        padded = 0.03 < share < 0.11
        self._room = np.ones(STEP + STEP // 8, np.bool_) if padded else None

    def __call__(self, flags: Booleans) -> Integers:
        if self._room is None or len(flags) < STEP:
            return np.flatnonzero(flags)
        self._room[:STEP] = flags
        return np.flatnonzero(self._room)[: -(STEP // 8)]


def in_eights(gaps: Iterator[Integers]) -> Iterator[Integers]:
    """The same gaps in pieces of multiples of eight, but for the last."""
    left = np.empty(0, np.int64)
    for piece in gaps:
        joined = np.concatenate([left, piece]) if len(left) else piece
        whole = len(joined) & ~7
        if whole:
            yield joined[:whole]
        left = joined[whole:]
    if len(left):
        yield left


def differences(positions: Integers, before: int) -> Integers:
    """How many lie between each position and the one before it."""
    gaps = np.empty(len(positions), np.int64)
    gaps[0] = positions[0] - before
    np.subtract(positions[1:], positions[:-1], out=gaps[1:])
    gaps -= 1
    return gaps


def set_bits(bits: Bits, positions: Integers) -> None:
    """Set the bits at ascending positions, window by window; empty windows cost nothing."""
    at = 0
    while at < len(positions):
        start = int(positions[at]) & ~7
        stop = at + int(np.searchsorted(positions[at:], start + 2 * STEP))
        flags = np.zeros(int(positions[stop - 1]) - start + 1, np.bool_)
        flags[positions[at:stop] - start] = True
        packed = np.packbits(flags, bitorder="little")
        bits[start >> 3 : (start >> 3) + len(packed)] |= packed
        at = stop
