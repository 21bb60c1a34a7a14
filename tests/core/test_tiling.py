"""A layer cut into blocks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.oracle import blocks_of
from ticketkit import tiling
from ticketkit.tiling import Tiling

SHAPES = st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple)


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    shape = draw(SHAPES)
    return Tiling(shape, tuple(draw(st.integers(1, side)) for side in shape))


@given(tilings())
def test_spans_cover_the_layer_once_in_order(cut: Tiling) -> None:
    spans = list(cut.spans())
    assert spans[0].first == spans[0].start == 0
    assert (spans[-1].last, spans[-1].stop) == (cut.count, cut.elements)
    for one, two in itertools.pairwise(spans):
        assert (one.last, one.stop) == (two.first, two.start)


@given(tilings())
def test_a_span_starts_at_a_whole_byte_of_bits(cut: Tiling) -> None:
    before, tiling.PIECE = tiling.PIECE, 8
    try:
        assert all(span.first % 8 == 0 for span in cut.spans())
        assert all(span.start % 8 == 0 for span in cut.spans())
    finally:
        tiling.PIECE = before


@given(tilings(), st.integers(0, 99))
def test_sums_sizes_and_expansion_agree_with_slices(cut: Tiling, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(-9, 9, cut.shape).astype(np.float32)
    slices = blocks_of(cut.shape, cut.block)
    keep = rng.random(len(slices)) < 0.5
    expected: np.ndarray[Any, Any] = np.zeros(cut.shape, bool)
    for where, kept in zip(slices, keep, strict=True):
        expected[where] = kept
    (span,) = cut.spans()
    np.testing.assert_array_equal(cut.sums(values.reshape(-1)), [values[w].sum() for w in slices])
    sizes = np.broadcast_to(cut.sizes(span), cut.count)
    np.testing.assert_array_equal(sizes, [values[where].size for where in slices])
    np.testing.assert_array_equal(cut.expand(keep, span).reshape(cut.shape), expected)


def test_long_runs_are_summed_the_same_alone_and_among_others() -> None:
    rng = np.random.default_rng(0)
    cut = Tiling((50, 1000), (1, 1000))
    values = rng.normal(size=(50, 1000)).astype(np.float32)
    together = cut.sums(values.reshape(-1))
    alone = [Tiling((1, 1000), (1, 1000)).sums(row)[0] for row in values]
    np.testing.assert_array_equal(together, alone)


def test_a_block_larger_than_the_layer_is_clipped() -> None:
    assert Tiling.of("w", (3, 4), (8, 2)).block == (3, 2)


@pytest.mark.parametrize(
    "block", [None, (1,), (1, 0), (1, -1), (1, 2.0), (True, 1), "11", (1, 1, 1)]
)
def test_what_is_no_block_is_refused_with_what_was_expected(block: object) -> None:
    with pytest.raises(ValueError, match="block for w: expected 2 positive integers"):
        Tiling.of("w", (3, 4), block)
