"""A tensor's bits with a mask applied, in pieces that stay in cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ticketkit.bits import BlockBits, PackedBits, bits_between
from ticketkit.tiling import PIECE, Booleans

Raw = np.ndarray[Any, np.dtype[Any]]


def masked(raw: Raw, entry: PackedBits | BlockBits) -> Iterator[Raw]:
    """The raw bits of a tensor, flat in C order, with all bits 0 (+0.0) where it is removed.

    `raw` holds unsigned integers in the tensor's own shape; complex numbers have a last axis of 2.
    """
    numbers = _by_number(raw, entry.size)
    for start, stop, keep in _keeps(entry):
        # A product with 0 or 1, in a fifth of the time of `where`.
        yield np.multiply(numbers[start:stop], keep[:, None]).reshape(-1)


def count_zeros(raw: Raw, size: int) -> int:
    """How many of `size` numbers are zero, -0.0 among them."""
    numbers = _by_number(raw, size)
    pieces = range(0, size, PIECE)
    return size - sum(int(_not_zero(numbers[at : at + PIECE]).sum()) for at in pieces)


def count_revived(raw: Raw, entry: PackedBits | BlockBits) -> int:
    """How many of the numbers that the mask removes are not zero; -0.0 is zero."""
    numbers = _by_number(raw, entry.size)
    return sum(
        int(np.count_nonzero(_not_zero(numbers[start:stop]) > keep))
        for start, stop, keep in _keeps(entry)
    )


def _not_zero(numbers: Raw) -> Booleans:
    shifted = numbers << numbers.dtype.type(1)  # the sign is shifted out
    found: Booleans = shifted[:, 0] != 0
    for column in range(1, shifted.shape[1]):
        found |= shifted[:, column] != 0
    return found


def _by_number(raw: Raw, size: int) -> Raw:
    """A row for each number."""
    return raw.reshape(size, raw.size // max(1, size))


def _keeps(entry: PackedBits | BlockBits) -> Iterator[tuple[int, int, Booleans]]:
    """Pieces of a mask in C order of the parameter's own shape: from where, to where, and which."""
    if isinstance(entry, BlockBits) and entry.layer.transposed is None:
        for span in entry.tiling.spans():
            blocks = bits_between(entry.blocks, span.first, span.last)
            yield span.start, span.stop, entry.tiling.expand(blocks, span)
        return
    bits, size = entry.bits, entry.size
    for start in range(0, size, PIECE):
        stop = min(start + PIECE, size)
        yield start, stop, bits_between(bits, start, stop)
