"""One layer in a selection: its blocks, what is ranked of them, and which are marked to be kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ticketkit.bits import Bits, BlockBits, PackedBits, bits_between
from ticketkit.layer import Layer
from ticketkit.scoring import Reader
from ticketkit.tiling import Booleans, Floats, Integers, Span, Tiling

# Neighbouring elements per place of a sample: a cache line of float32.
_RUN = 16


class Tiled:
    """A layer's blocks and their marks, one bit a block in C order."""

    def __init__(self, name: str, tiling: Tiling, within: PackedBits | BlockBits | None) -> None:
        self.name = name
        self.tiling = tiling
        self.within = within and PackedBits(within.shape, within.bits)
        whole = isinstance(within, BlockBits) and within.block == tiling.block
        self._blocks_within = within.blocks if whole and isinstance(within, BlockBits) else None
        self.weights = tiling.elements if within is None else within.kept
        self.marks: Bits = np.zeros((tiling.count + 7) // 8, np.uint8)

    @property
    def plain(self) -> bool:
        """Whether all blocks that are ranked have one size."""
        return self.tiling.equal and (self.within is None or self.tiling.size == 1)

    def pieces(self, reader: Reader) -> Iterator[tuple[Span, Floats, Integers | int]]:
        """The spans of the layer, the scores of their blocks, and the blocks' sizes in weights.

        A block's score is the mean over its elements, in float64; single elements stay as they
        are. A block of which `within` leaves nothing scores -inf.
        """
        for span in self.tiling.spans():
            yield span, *self._scored(reader, span)

    def sample(self, reader: Reader, wanted: int, generator: np.random.Generator) -> Floats:
        """The scores of about `wanted` blocks at random places, spread evenly over the layer.

        A row of the result holds the neighbouring blocks of one place.
        """
        if not self.tiling.runs:
            count, blocks = self.tiling.grid[0], math.prod(self.tiling.grid[1:])
            rows = _places(count, 1, -(-wanted // max(1, blocks)), generator)
            pieces = [self._scored(reader, self.tiling.row(row))[0] for row in rows.tolist()]
            return np.stack(pieces)
        size = self.tiling.size
        run = max(1, min(_RUN // max(1, size), wanted, self.tiling.count))
        starts = _places(self.tiling.count, run, -(-wanted // run), generator)
        index = (starts[:, None] * size + np.arange(run * size)).reshape(-1)
        keep = None if self.within is None else _bits_at(self.within.bits, index)
        return self._blocks(reader.gather(index), keep, size)[0].reshape(-1, run)

    def best(self, reader: Reader) -> tuple[int, float, int]:
        """The first block of the highest score: its index, its score, its size."""
        best = (0, -np.inf, 0)
        for span, values, sizes in self.pieces(reader):
            at = int(np.argmax(values))
            if values[at] > best[1]:
                size = sizes if isinstance(sizes, int) else int(sizes[at])
                best = (span.first + at, float(values[at]), size)
        return best

    def mark(self, blocks: Integers) -> None:
        """Keep these blocks too."""
        np.bitwise_or.at(self.marks, blocks >> 3, (1 << (blocks & 7)).astype(np.uint8))

    def packed(self) -> PackedBits | BlockBits:
        """What the marks keep, in the layer's presented shape."""
        layer, block = Layer(self.name, self.tiling.shape), self.tiling.block
        if self._blocks_within is not None:
            return BlockBits(layer, block, self.marks & self._blocks_within)
        kept = BlockBits(layer, block, self.marks)
        if self.within is None:
            return kept
        return PackedBits(self.tiling.shape, kept.bits & self.within.bits)

    def _scored(self, reader: Reader, span: Span) -> tuple[Floats, Integers | int]:
        values = reader.read(span.start, span.stop)
        keep = (
            None if self.within is None else bits_between(self.within.bits, span.start, span.stop)
        )
        return self._blocks(values, keep, self.tiling.sizes(span))

    def _blocks(
        self, values: Floats, keep: Booleans | None, sizes: Integers | int
    ) -> tuple[Floats, Integers | int]:
        """The score of each block and its size, from the scores of its elements."""
        if self.tiling.size == 1:
            return (values if keep is None else np.where(keep, values, -np.inf)), 1
        if keep is None:
            return self._means(values, sizes), sizes
        left = self.tiling.sums(keep.astype(np.float64)).astype(np.int64)
        means = self._means(np.where(keep, values, 0), np.maximum(left, 1))
        return np.where(left > 0, means, -np.inf), left

    def _means(self, values: Floats, sizes: Integers | int) -> Floats:
        with np.errstate(over="ignore"):
            means = self.tiling.sums(values) / sizes
        # Only float64 scores near the limit can overflow their sum.
        if values.dtype == np.float64 and not np.isfinite(means).all():
            scale = 2.0 ** self.tiling.size.bit_length()
            means = self.tiling.sums(values / scale) / sizes * scale
        return means


def _places(
    count: int, run: int, wanted: int, generator: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Starts of about `wanted` runs, one at a random place in each of as many equal stretches."""
    wanted = max(1, min(wanted, count // run))
    stretch = (count - run + 1) / wanted
    places = (np.arange(wanted) + generator.random(wanted)) * stretch
    return np.minimum(places.astype(np.int64), count - run)


def _bits_at(bits: Bits, index: Integers) -> Booleans:
    found: Booleans = (bits[index >> 3] >> (index & 7) & 1).astype(np.bool_)
    return found
