"""One layer in a selection."""

from __future__ import annotations

import numpy as np
import torch

from ticketkit.bits import PackedBits, pack
from ticketkit.scoring import TensorReader
from ticketkit.tiled import Tiled
from ticketkit.tiling import Tiling

SCORES = torch.arange(12.0).reshape(3, 4)
WITHIN = PackedBits((3, 4), pack(np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]], bool)))


def test_a_blocks_score_is_the_mean_of_what_within_leaves_of_it() -> None:
    layer = Tiled("w", Tiling((3, 4), (1, 2)), WITHIN)
    ((_, scores, sizes),) = layer.pieces(TensorReader(SCORES))
    assert scores.tolist() == [0.5, 3, -np.inf, -np.inf, 8, 10.5]
    assert np.asarray(sizes).tolist() == [2, 1, 0, 0, 1, 2]
    assert layer.weights == 6
    assert not layer.plain


def test_the_best_block_is_the_first_of_the_highest_score() -> None:
    scores = torch.tensor([[1.0, 7.0, 7.0], [0.0, 7.0, 2.0]])
    layer = Tiled("w", Tiling((2, 3), (1, 1)), None)
    assert layer.best(TensorReader(scores)) == (1, 7.0, 1)


def test_marked_blocks_come_back_as_weights_within_what_was_left() -> None:
    layer = Tiled("w", Tiling((3, 4), (1, 2)), WITHIN)
    layer.mark(np.array([1, 4]))
    layer.mark(np.array([4]))
    kept = layer.packed().unpack()
    assert np.argwhere(kept).tolist() == [[0, 3], [2, 0]]


def test_a_sample_is_spread_over_the_whole_layer() -> None:
    scores = torch.arange(100_000.0).reshape(1000, 100)
    generator = np.random.default_rng(0)
    for block in ((1, 1), (1, 100), (3, 7)):
        layer = Tiled("w", Tiling((1000, 100), block), None)
        drawn = layer.sample(TensorReader(scores), 400, generator)
        assert 300 <= drawn.size <= 600
        assert drawn.min() < 10_000
        assert drawn.max() > 90_000
