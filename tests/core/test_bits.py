"""Packed bits: what goes in comes out, whatever the shape, block or position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.core import oracle
from ticketkit import InputError, Layer, tiling
from ticketkit.bits import BlockBits, PackedBits, bits_between, count, pack
from ticketkit.tiling import Booleans, Tiling

Shape = tuple[int, ...]
BOOLEANS = arrays.arrays(
    np.bool_, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
)
LAW = settings(deadline=None)
LAYERS = {
    "linear": Layer("w", (11, 6)),
    "convolution": Layer("w", (41, 3, 3, 3)),
    "vector": Layer("w", (19,)),
    "scalar": Layer("w", ()),
    "empty": Layer("w", (4, 0, 3)),
    "transposed": Layer("w", (6, 4, 3, 2), 1),
    "transposed in groups": Layer("w", (12, 4, 3, 2), 3),
}


def _clipped(layer: Layer, block: Shape) -> Shape:
    return Tiling.of(layer.name, layer.shape, block[: len(layer.shape)]).block


def _painted(layer: Layer, block: Shape, keep: Booleans) -> Booleans:
    """The layer in its own shape, painted block by block."""
    painted = np.ones(layer.shape, np.bool_)
    if layer.size:
        for where, kept in zip(oracle.blocks_of(layer.shape, block), keep, strict=True):
            painted[where] = kept
    return layer.restore(painted)


@LAW
@given(BOOLEANS)
def test_what_is_packed_unpacks(keep: Booleans) -> None:
    packed = PackedBits(keep.shape, pack(keep))
    assert packed.unpack().dtype == np.bool_
    assert packed.unpack().shape == keep.shape
    assert np.array_equal(packed.unpack(), keep)


@LAW
@given(BOOLEANS)
def test_as_many_bits_are_counted_as_weights_are_kept(keep: Booleans) -> None:
    packed = PackedBits(keep.shape, pack(keep))
    assert packed.kept == count(packed.bits) == keep.sum()
    assert packed.size == keep.size
    assert packed.bits.nbytes == (keep.size + 7) // 8


@LAW
@given(arrays.arrays(np.bool_, st.integers(0, 60)), st.data())
def test_any_run_of_bits_can_be_read(keep: Booleans, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(keep)))
    stop = data.draw(st.integers(start, len(keep)))
    assert np.array_equal(bits_between(pack(keep), start, stop), keep[start:stop])


def test_the_first_weight_is_the_lowest_bit() -> None:
    assert pack(np.arange(9) % 8 == 0).tolist() == [1, 1]


def test_bits_are_in_c_order_whatever_the_memory_order() -> None:
    keep = np.arange(12).reshape(3, 4) % 3 == 0
    assert np.array_equal(pack(np.asfortranarray(keep)), pack(keep))


@pytest.mark.parametrize("length", [0, 1, 3])
def test_too_few_or_too_many_bytes_are_refused(length: int) -> None:
    with pytest.raises(InputError, match=f"expected 2 bytes of bits, found {length}"):
        PackedBits((3, 3), np.zeros(length, np.uint8))


def test_bits_beyond_the_last_weight_are_refused() -> None:
    with pytest.raises(InputError, match="beyond the last weight"):
        PackedBits((3,), np.array([0b1000], np.uint8))


def test_too_many_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="beyond the last weight"):
        BlockBits(Layer("w", (3, 2)), (1, 2), np.array([0b1000], np.uint8))


def test_packed_bits_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        PackedBits((3,), np.array([0b101], np.uint8)).bits[0] = 0


@pytest.mark.parametrize("piece", [1, tiling.PIECE])
@pytest.mark.parametrize("block", [(1,) * 4, (1, 9, 9, 9), (2, 2, 9, 1), (3, 1, 2, 2)], ids=str)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_bits_of_blocks_are_those_of_the_painted_layer(
    layer: Layer, block: Shape, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiling, "PIECE", piece)
    block = _clipped(layer, block)
    keep = np.random.default_rng(0).random(Tiling(layer.shape, block).count) < 0.5
    blocks, painted = BlockBits(layer, block, pack(keep)), _painted(layer, block, keep)
    assert blocks.shape == painted.shape
    assert (blocks.size, blocks.kept) == (painted.size, painted.sum())
    assert np.array_equal(blocks.unpack(), painted)
    assert np.array_equal(blocks.bits, pack(painted))


@LAW
@given(st.data())
def test_blocks_of_any_side_cover_a_layer_of_any_side(data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=4, max_side=7))
    block = tuple(data.draw(st.integers(1, side)) for side in shape)
    layer = Layer("w", shape)
    keep = data.draw(arrays.arrays(np.bool_, Tiling(shape, block).count))
    blocks = BlockBits(layer, block, pack(keep))
    assert np.array_equal(blocks.unpack(), _painted(layer, block, keep))
    assert blocks.kept == blocks.unpack().sum() == count(blocks.bits)


def test_bits_that_were_given_are_still_their_givers_to_write() -> None:
    bits = np.zeros(2, np.uint8)
    packed = PackedBits((16,), bits)
    bits[0] = 1
    assert packed.kept == 1
    with pytest.raises(ValueError, match="read-only"):
        packed.bits[0] = 0
