"""Scores are computed piece by piece, and checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ticketkit
from ticketkit import Layer
from ticketkit.options import resolve
from ticketkit.scoring import Scores, reader_of, shape_of
from ticketkit.tiling import PIECE

LAYER = Layer.of("up", (4, 3, 2, 2), transposed=2)
WEIGHT = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))


def scores(criterion: str, weight: torch.Tensor = WEIGHT) -> Scores:
    part: Any = resolve("criterion", criterion)
    return Scores({"up": LAYER}, lambda layer: weight, part, seed=3)


def test_a_whole_layers_scores_have_its_presented_shape() -> None:
    found = scores("magnitude")
    assert shape_of(found, "up") == (6, 2, 2, 2) == tuple(found["up"].shape)
    torch.testing.assert_close(LAYER.restore(found["up"]), WEIGHT.abs())
    assert list(found) == ["up"]
    assert len(found) == 1


@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_pieces_and_places_agree_with_the_whole(criterion: str) -> None:
    found = scores(criterion)
    whole = found["up"].reshape(-1).numpy()
    reader = reader_of(found, "up")
    np.testing.assert_array_equal(reader.read(5, 17), whole[5:17])
    np.testing.assert_array_equal(reader.gather(np.array([3, 1, 40])), whole[[3, 1, 40]])


def test_half_precision_is_ranked_in_float32() -> None:
    assert scores("magnitude", WEIGHT.half())["up"].dtype == torch.float32
    assert scores("magnitude", WEIGHT.double())["up"].dtype == torch.float64


def test_plain_tensors_serve_as_scores_if_they_are_finite() -> None:
    assert reader_of({"a": torch.ones(2, 2)}, "a").read(0, 4).tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="scores of a returned NaN or infinite"):
        reader_of({"a": torch.full((2,), float("nan"))}, "a")


def test_a_piece_longer_than_the_cache_is_asked_for_in_parts() -> None:
    asked = []

    class Watching(ticketkit.Criterion):
        name = "watching"

        def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
            asked.append(weight.numel())
            return weight.abs()

    weight = torch.ones(2**20)
    layer = Layer("w", (2**20,))
    found = Scores({"w": layer}, lambda _: weight, Watching(), seed=0)
    assert found["w"].sum() == 2**20
    assert max(asked) <= 2 * PIECE
