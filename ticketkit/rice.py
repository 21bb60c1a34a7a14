"""A row of bits as Rice-coded gaps: near its entropy where one of the two symbols is rare.

The layout, enough to write a decoder from. A row of `size` bits is told by its `codes` bits that
are `coded` (0 or 1, whichever is rarer); all others are the opposite. For code i, counted from 0,
the gap g[i] is the number of bits between it and the coded bit before it (for the first: the bits
before it), so the position of code i is g[0] + ... + g[i] + i. With the row's `parameter` k,

    q[i] = g[i] >> k    (the quotient)        r[i] = g[i] & (2**k - 1)    (the remainder)

and the data are k remainder planes and then one quotient plane:

- remainder plane b, for b from 0 to k - 1, holds bit b of every r[i]: `codes` bits, padded with 0
  to ceil(codes / 8) bytes;
- the quotient plane holds, for each code in turn, q[i] bits 0 and then a bit 1, and is padded with
  0 to whole bytes.

Within a byte the first bit is the lowest (the value 1). There is nothing between the planes, and
nothing after them: the quotient plane has `codes` bits 1, the last of them in its last byte. Gaps
end within the row. This is the code of Rice (1979), after Golomb (1966).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ticketkit.bits import Bits, count
from ticketkit.errors import InputError
from ticketkit.gaps import STEP, differences, gaps_of, in_eights, set_bits
from ticketkit.tiling import Integers

# Rows are shorter, so that the positions of a step of codes, however absurd, fit 64 bits.
_LONGEST = 2**43
# The parameter is chosen from one window in so many, each of at least so many bits and codes.
_EVERY, _WINDOW, _CODES = 16, 2**14, 2**11


@dataclass(frozen=True, eq=False)
class RiceRow:
    """A row of bits that is decoded when its bits are asked for; see the module for the layout."""

    size: int
    """Number of bits."""
    coded: int
    """Which symbol has codes: 0 or 1."""
    codes: int
    """How many bits of that symbol there are."""
    parameter: int
    data: Bits

    def __post_init__(self) -> None:
        if not 0 <= self.codes <= self.size < _LONGEST or self.coded not in (0, 1):
            raise InputError(
                f"expected codes of 0 or 1, no more than bits, of which fewer than 2^43; found "
                f"{self.codes:,} codes of {self.coded:,} in {self.size:,} bits"
            )
        most = self.size.bit_length()
        if not 0 <= self.parameter <= most:
            raise InputError(f"expected a parameter from 0 to {most}, found {self.parameter:,}")
        least = (self.parameter + 1) * self._plane
        if len(self.data) < least:
            raise InputError(
                f"expected {least:,} bytes or more for {self.codes:,} codes with parameter "
                f"{self.parameter}, found {len(self.data):,}"
            )
        self.data.flags.writeable = False

    @classmethod
    def encode(cls, bits: Bits, size: int) -> RiceRow:
        """The code of `size` packed bits; the same bits have the same code."""
        ones = count(bits)
        coded = int(2 * ones <= size)
        codes = ones if coded else size - ones
        parameter = _parameter(bits, size, coded, codes)
        return cls(size, coded, codes, parameter, _encoded(bits, size, coded, codes, parameter))

    @property
    def ones(self) -> int:
        """Number of set bits."""
        return self.codes if self.coded else self.size - self.codes

    @cached_property
    def bits(self) -> Bits:
        """The packed bits; raises an `InputError` where the codes are none."""
        bits: Bits = np.zeros((self.size + 7) // 8, np.uint8)
        for positions in self.positions():
            set_bits(bits, positions)
        if not self.coded:
            np.invert(bits, out=bits)
            if self.size % 8:
                bits[-1] &= (1 << self.size % 8) - 1
        bits.flags.writeable = False
        return bits

    def check(self) -> None:
        """Raise an `InputError` unless this is a code of so many bits; takes little memory."""
        for _ in self.positions():
            pass

    def positions(self) -> Iterator[Integers]:
        """Where the coded bits are, in order and in pieces; raises an `InputError` for no code."""
        self._check_padding()
        done, last = 0, -1
        for quotients in self._quotients():
            done += len(quotients)
            self._expect(done <= self.codes, f"more than the {self.codes:,} codes expected")
            widest = int(quotients.max())
            self._expect(widest <= self.size >> self.parameter, "a gap beyond the end of the row")
            gaps = quotients << self.parameter
            gaps |= self._remainders(done - len(quotients), done)
            gaps += 1
            np.cumsum(gaps, out=gaps)
            gaps += last
            last = int(gaps[-1])
            self._expect(last < self.size, "gaps that end beyond the row")
            yield gaps
        self._expect(done == self.codes, f"{done:,} codes where {self.codes:,} were expected")

    @property
    def _plane(self) -> int:
        """Bytes of a remainder plane."""
        return (self.codes + 7) // 8

    @property
    def _unary(self) -> Bits:
        return self.data[self.parameter * self._plane :]

    def _quotients(self) -> Iterator[Integers]:
        unary, zeros = self._unary, 0
        for first in range(0, len(unary), STEP // 8):
            flags = np.unpackbits(unary[first : first + STEP // 8], bitorder="little")
            ends = np.flatnonzero(flags.view(np.bool_))
            if not len(ends):
                zeros += len(flags)
                continue
            quotients = differences(ends, -1 - zeros)
            zeros = len(flags) - 1 - int(ends[-1])
            yield quotients

    def _remainders(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        remainders: np.ndarray[Any, Any] = np.zeros(
            stop - start, np.uint16 if self.parameter <= 16 else np.int64
        )
        first = start >> 3
        for bit in range(self.parameter):
            plane = self.data[bit * self._plane : (bit + 1) * self._plane]
            flags = np.unpackbits(plane[first : (stop + 7) >> 3], bitorder="little")
            flags = flags[start - 8 * first : stop - 8 * first]
            remainders |= flags.astype(remainders.dtype) << remainders.dtype.type(bit)
        return remainders

    def _check_padding(self) -> None:
        if self.codes == 0:
            self._expect(not len(self.data), "bytes where none were expected")
            return
        self._expect(self._unary[-1] != 0, "bytes beyond the last code")
        if self.codes % 8:
            last = self.data[self._plane - 1 : self.parameter * self._plane : self._plane]
            self._expect(not (last >> (self.codes % 8)).any(), "remainders beyond the last code")

    def _expect(self, true: bool, found: str) -> None:
        if not true:
            raise InputError(f"no Rice code of {self.size:,} bits: {found}")


def _parameter(bits: Bits, size: int, coded: int, codes: int) -> int:
    """The parameter that makes the code shortest, by one window in `_EVERY` of a long row.

    Above the mean gap each step costs more for the remainders than it saves in quotients.
    """
    if codes == 0:
        return 0
    window = (max(_WINDOW, _CODES * size // codes) + 7) & ~7
    parameters = range((size // codes).bit_length() + 1)
    quotients, seen = [0] * len(parameters), 0
    for start in range(0, size, _EVERY * window):
        stop = min(start + window, size)
        seen += stop - start
        for gaps in gaps_of(bits, coded, start, stop, codes / size):
            for k in parameters:
                quotients[k] += int((gaps >> k).sum())
    # What the windows have missed was in long gaps: bits that lie in clusters have them.
    missed = max(0, seen * (size - codes) - size * quotients[0]) if seen < size else 0
    return min(parameters, key=lambda k: seen * codes * k + size * quotients[k] + (missed >> k))


def _encoded(bits: Bits, size: int, coded: int, codes: int, parameter: int) -> Bits:
    planes: list[list[Bits]] = [[] for _ in range(parameter)]
    quotients = _Quotients()
    for gaps in in_eights(gaps_of(bits, coded, 0, size, codes / max(1, size))):
        quotients.add(gaps >> parameter)
        narrow = gaps.astype(np.min_scalar_type((1 << parameter) - 1))  # the low bits
        for bit, plane in enumerate(planes):
            flags = (narrow & narrow.dtype.type(1 << bit)).astype(np.bool_)
            plane.append(np.packbits(flags, bitorder="little"))
    return np.concatenate([*(piece for plane in planes for piece in plane), *quotients.plane()])


class _Quotients:
    """Writes the quotient plane, whose codes end within bytes."""

    def __init__(self) -> None:
        self._pieces: list[Bits] = []
        self._unfinished: Bits = np.zeros(1, np.uint8)
        self._filled = 0
        """Bits of the byte that is unfinished."""

    def add(self, quotients: Integers) -> None:
        ends = quotients + 1
        np.cumsum(ends, out=ends)
        ends += self._filled - 1
        length = int(ends[-1]) + 1
        packed: Bits = np.zeros(length // 8 + 1, np.uint8)
        packed[0] = self._unfinished[0]
        set_bits(packed, ends)
        self._pieces.append(packed[:-1])
        self._unfinished, self._filled = packed[-1:], length % 8

    def plane(self) -> list[Bits]:
        return [*self._pieces, self._unfinished[: self._filled > 0]]
