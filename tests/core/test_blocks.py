"""The blocks of a scheme, and how much each matters."""

from __future__ import annotations

import pytest
import torch

import ticketkit
from ticketkit.blocks import block_scores, tiling_of
from ticketkit.parts import Scheme

SHAPES = {"conv": (4, 6, 3, 3), "odd": (5, 3, 1, 1), "linear": (7, 9)}


def scheme_of(spec: str) -> Scheme:
    found = ticketkit.resolve("scheme", spec)
    assert isinstance(found, Scheme)
    return found


@pytest.mark.parametrize(
    ("spec", "axes"), [("row", (3,)), ("kernel", (2, 3)), ("channel", (1, 2, 3))]
)
def test_a_block_matters_as_much_as_its_weights_do_in_the_mean(
    spec: str, axes: tuple[int, ...]
) -> None:
    scores = {"conv": torch.rand(SHAPES["conv"], generator=torch.Generator().manual_seed(0))}
    found = block_scores(scheme_of(spec), scores)["conv"]
    expected = scores["conv"].double().mean(axes, keepdim=True)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("spec", ["unstructured", "nm"])
def test_where_blocks_are_single_weights_or_there_are_none_the_scores_stay(spec: str) -> None:
    scores = {name: torch.rand(shape) for name, shape in SHAPES.items()}
    found = block_scores(scheme_of(spec), scores)
    for name, expected in scores.items():
        assert torch.equal(found[name], expected.double())


def test_a_layer_of_a_linear_network_has_blocks_too() -> None:
    assert tiling_of(scheme_of("channel"), "linear", (7, 9)).grid == (7, 1)
    assert tiling_of(scheme_of("row"), "linear", (7, 9)).grid == (7, 9)
