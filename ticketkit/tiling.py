"""A layer cut into blocks that live and die together, read in pieces that stay in cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ticketkit.errors import printable

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

# Elements per piece: 1 MiB of float32.
PIECE = 2**18
# Up to this length a block's elements are added column by column over many blocks at once.
_SHORT = 32


@dataclass(frozen=True)
class Span:
    """A piece of a layer: blocks [first, last), elements [start, stop)."""

    first: int
    last: int
    start: int
    stop: int


@dataclass(frozen=True)
class Tiling:
    """The blocks of a presented shape; those at the edges may be smaller. Blocks are in C order."""

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @classmethod
    def of(cls, name: str, shape: tuple[int, ...], block: object) -> Tiling:
        """Check what a scheme returned for a layer; a block larger than the layer is clipped."""
        wanted = f"expected {len(shape)} positive integers, one for each dimension of {shape}"
        if not isinstance(block, tuple | list) or len(block) != len(shape):
            raise ValueError(f"block for {printable(name)}: {wanted}, found {block!r}")
        if any(not isinstance(side, int) or isinstance(side, bool) or side < 1 for side in block):
            raise ValueError(f"block for {printable(name)}: {wanted}, found {block!r}")
        return cls(shape, tuple(min(b, s) for b, s in zip(block, shape, strict=True)))

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Number of blocks along each dimension."""
        return tuple(-(-s // b) if b else 0 for s, b in zip(self.shape, self.block, strict=True))

    @cached_property
    def count(self) -> int:
        """Number of blocks."""
        return math.prod(self.grid)

    @cached_property
    def size(self) -> int:
        """Number of weights of a block that touches no edge."""
        return math.prod(self.block)

    @cached_property
    def elements(self) -> int:
        """Number of weights of the layer."""
        return math.prod(self.shape)

    @cached_property
    def equal(self) -> bool:
        """Whether all blocks have the same size."""
        return self.count * self.size == self.elements

    @cached_property
    def runs(self) -> bool:
        """Whether every block is one run of neighbouring elements, all of one length."""
        sides = [i for i, b in enumerate(self.block) if b != 1]
        whole = all(
            self.block[i] == self.shape[i] for i in range((sides or [0])[0] + 1, self._rank)
        )
        return self.equal and (not sides or whole)

    @property
    def _rank(self) -> int:
        return len(self.shape)

    @cached_property
    def _row(self) -> tuple[int, int]:
        """Blocks and elements of one row of the grid along the first dimension."""
        elements = self.block[0] * math.prod(self.shape[1:]) if self.shape else 1
        return math.prod(self.grid[1:]), elements

    def spans(self) -> Iterator[Span]:
        """The layer in pieces, each starting at a block whose index is a multiple of eight."""
        blocks, elements = (1, self.size) if self.runs else self._row
        step = max(8, PIECE // max(1, elements) // 8 * 8)
        for first in range(0, self.count // max(1, blocks), step):
            last = min(first + step, self.count // blocks)
            stop = min(last * elements, self.elements)
            yield Span(first * blocks, last * blocks, first * elements, stop)

    def row(self, index: int) -> Span:
        """One row of the grid along the first dimension."""
        blocks, elements = self._row
        stop = min((index + 1) * elements, self.elements)
        return Span(index * blocks, (index + 1) * blocks, index * elements, stop)

    def sums(self, values: Floats) -> Floats:
        """The sum of each block in a span, in float64, the same however the layer is cut."""
        if not self.runs:
            return self._edge_sums(values.astype(np.float64))
        rows = values.astype(np.float64).reshape(-1, self.size)
        if self.size > _SHORT:
            sums: Floats = np.add.reduce(rows, axis=1)
            return sums
        total: Floats = rows[:, 0].copy()
        for column in range(1, self.size):
            total += rows[:, column]
        return total

    def sizes(self, span: Span) -> Integers | int:
        """Weights in each block of a span: one number where all blocks are equal."""
        if self.equal:
            return self.size
        sides = [
            np.minimum(b, s - np.arange(g) * b)
            for s, b, g in zip(self.shape, self.block, self.grid, strict=True)
        ]
        blocks = self._row[0]
        sides[0] = sides[0][span.first // blocks : -(-span.last // blocks)]
        product: Integers = sides[0].astype(np.int64)
        for side in sides[1:]:
            product = np.multiply.outer(product, side)
        return product.reshape(-1)

    def sizes_at(self, blocks: Integers) -> Integers:
        """Weights in each of these blocks."""
        product: Integers = np.ones(len(blocks), np.int64)
        corners = np.unravel_index(blocks, self.grid)
        for corner, side, length in zip(corners, self.block, self.shape, strict=True):
            product *= np.minimum(side, length - corner * side)
        return product

    def expand(self, keep: Booleans, span: Span) -> Booleans:
        """The elements of a span, in C order, each as its block is kept."""
        if self.size == 1:
            return keep
        if self.runs:
            return np.repeat(keep, self.size)
        rows = (span.stop - span.start) // max(1, math.prod(self.shape[1:]))
        expanded = keep.reshape(-1, *self.grid[1:])
        for axis, (side, length) in enumerate(
            zip(self.block, (rows, *self.shape[1:]), strict=True)
        ):
            trimmed = (slice(None),) * axis + (slice(length),)
            expanded = np.repeat(expanded, side, axis=axis)[trimmed]
        return expanded.reshape(-1)

    def _edge_sums(self, values: Floats) -> Floats:
        sums = values.reshape(-1, *self.shape[1:])
        for axis in reversed(range(self._rank)):
            if self.block[axis] > 1:
                starts = np.arange(0, sums.shape[axis], self.block[axis])
                sums = np.add.reduceat(sums, starts, axis=axis)
        return sums.reshape(-1)
