"""The keep-bits of one parameter: one bit a weight, or one bit a block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ticketkit.errors import InputError
from ticketkit.layer import Layer
from ticketkit.tiling import Booleans, Integers, Tiling

Bits = np.ndarray[Any, np.dtype[np.uint8]]


def pack(keep: Booleans) -> Bits:
    """Booleans in C order, eight a byte, the first in the lowest bit."""
    return np.packbits(keep.reshape(-1), bitorder="little")


def bits_between(bits: Bits, start: int, stop: int) -> Booleans:
    """Bits [start, stop) as booleans."""
    first = start >> 3
    unpacked = np.unpackbits(bits[first : (stop + 7) >> 3], bitorder="little")
    return unpacked[start - 8 * first : stop - 8 * first].view(np.bool_)


def count(bits: Bits) -> int:
    """Number of set bits."""
    words = len(bits) & ~7
    wide, rest = bits[:words].view(np.uint64), bits[words:]
    return int(np.bitwise_count(wide).sum(dtype=np.int64) + np.bitwise_count(rest).sum())


class Row(Protocol):
    """A row of bits in a code of its own, which is decoded when the bits are asked for."""

    @property
    def size(self) -> int:
        """Number of bits."""

    @property
    def ones(self) -> int:
        """Number of set bits."""

    @property
    def coded(self) -> int:
        """The symbol, 0 or 1, whose positions are told."""

    @property
    def bits(self) -> Bits:
        """The packed bits."""

    def positions(self) -> Iterator[Integers]:
        """Where the coded symbol is, in order and in pieces."""


@dataclass(frozen=True, eq=False)
class PackedBits:
    """One bit a weight, in C order of the parameter's own shape."""

    shape: tuple[int, ...]
    row: Bits | Row
    """Packed bits, or a code of them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", _checked(self.row, self.size))

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def kept(self) -> int:
        """Number of weights kept."""
        return _ones(self.row)

    @property
    def bits(self) -> Bits:
        """One bit a weight."""
        return _unpacked(self.row)

    def unpack(self) -> Booleans:
        """A boolean array of the parameter's shape, True where the weight is kept."""
        return bits_between(self.bits, 0, self.size).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class BlockBits:
    """One bit a block of a layer, in C order of the blocks in its presented shape."""

    layer: Layer
    block: tuple[int, ...]
    row: Bits | Row
    """Packed bits, or a code of them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", _checked(self.row, self.tiling.count))

    @cached_property
    def tiling(self) -> Tiling:
        """The blocks of the layer."""
        return Tiling(self.layer.shape, self.block)

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's own shape."""
        return self.layer.own_shape

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.layer.size

    @property
    def blocks(self) -> Bits:
        """One bit a block."""
        return _unpacked(self.row)

    @cached_property
    def kept(self) -> int:
        """Number of weights kept."""
        tiling = self.tiling
        if tiling.equal:
            return _ones(self.row) * tiling.size
        if not isinstance(self.row, np.ndarray):
            coded = sum(int(tiling.sizes_at(each).sum()) for each in self.row.positions())
            return coded if self.row.coded else tiling.elements - coded
        spans = (
            (span, bits_between(self.blocks, span.first, span.last)) for span in tiling.spans()
        )
        return sum(int((keep * tiling.sizes(span)).sum()) for span, keep in spans)

    @property
    def bits(self) -> Bits:
        """One bit a weight, in C order of the parameter's own shape."""
        if self.layer.transposed is not None:
            return pack(self.unpack())
        tiling = self.tiling
        if tiling.size == 1:
            return self.blocks
        bits: Bits = np.empty((self.size + 7) // 8, np.uint8)
        for span in tiling.spans():
            keep = tiling.expand(bits_between(self.blocks, span.first, span.last), span)
            bits[span.start >> 3 : (span.stop + 7) >> 3] = pack(keep)
        return bits

    def unpack(self) -> Booleans:
        """A boolean array of the parameter's own shape, True where the weight is kept."""
        tiling = self.tiling
        keep = np.empty(self.size, np.bool_)
        for span in tiling.spans():
            blocks = bits_between(self.blocks, span.first, span.last)
            keep[span.start : span.stop] = tiling.expand(blocks, span)
        return self.layer.restore(keep.reshape(self.layer.shape))


def _ones(row: Bits | Row) -> int:
    return count(row) if isinstance(row, np.ndarray) else row.ones


def _unpacked(row: Bits | Row) -> Bits:
    return row if isinstance(row, np.ndarray) else row.bits


def _checked(bits: Bits | Row, size: int) -> Bits | Row:
    """The bits, not to be written to through this; whoever gave them may go on."""
    if not isinstance(bits, np.ndarray):
        if bits.size != size:
            raise InputError(f"expected a row of {size:,} bits, found {bits.size:,}")
        return bits
    expected = (size + 7) // 8
    if len(bits) != expected:
        raise InputError(f"expected {expected} bytes of bits, found {len(bits)}")
    if size % 8 and bits[-1] >> (size % 8):
        raise InputError("bits are set beyond the last weight")
    view = bits.view()
    view.flags.writeable = False
    return view
