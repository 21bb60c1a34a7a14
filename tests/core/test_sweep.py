"""One pass over the scores of a layer."""

from __future__ import annotations

import numpy as np
import torch

from ticketkit.bits import bits_between
from ticketkit.sampling import Bracket
from ticketkit.sweep import Found, sweep
from ticketkit.tiled import Tiled
from ticketkit.tiling import Tiling

SCORES = torch.tensor([[0.0, 1.0, 2.0, 2.0], [5.0, 2.0, 3.0, 1.0]])


def swept(bracket: Bracket) -> Found:
    layer = Tiled("w", Tiling((2, 4), (1, 1)), None)
    (found,) = sweep([layer], {"w": SCORES}, bracket, np.dtype(np.float32))
    return found


def test_what_lies_above_is_marked_and_what_lies_inside_is_returned_in_order() -> None:
    found = swept(Bracket(1.5, 3.0, -9, 9))
    assert bits_between(found.layer.marks, 0, 8).nonzero()[0].tolist() == [4]
    assert found.above == 1
    assert found.blocks.tolist() == [2, 3, 5, 6]
    assert found.scores.tolist() == [2, 2, 2, 3]
    assert found.sizes == 1


def test_a_tied_bracket_returns_its_ties_as_bits() -> None:
    found = swept(Bracket(2.0, 2.0, -9, 9, tied=True))
    assert found.above == 2
    assert found.ties is not None
    assert bits_between(found.ties, 0, 8).nonzero()[0].tolist() == [2, 3, 5]
    assert not len(found.blocks)


def test_a_candidate_can_be_taken_out() -> None:
    found = swept(Bracket(1.5, 3.0, -9, 9))
    found.drop(1)
    assert found.blocks.tolist() == [2, 5, 6]
