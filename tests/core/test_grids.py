"""From weights to blocks and back, against sums over slices."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ticketkit
from tests.core.oracle import blocks_of
from ticketkit.errors import PluginError
from ticketkit.grids import block_scores, block_sums, expanded, tilings_of
from ticketkit.layer import Layer
from ticketkit.tiling import Tiling


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    block = [draw(st.integers(1, 7)) for _ in shape]
    return Tiling.of("layer", shape, block)


def random(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(tilings())
def test_each_weight_has_the_number_of_its_block(tiling: Tiling) -> None:
    blocks = random(tiling.grid)
    found = expanded(blocks, tiling)
    assert tuple(found.shape) == tiling.shape
    for number, where in zip(blocks.flatten(), blocks_of(tiling.shape, tiling.block), strict=True):
        assert (found[where] == number).all()


@given(tilings())
def test_a_sum_and_a_score_are_over_the_weights_of_a_block(tiling: Tiling) -> None:
    values = random(tiling.shape)
    sums = block_sums(values, tiling)
    means = block_scores({"layer": values}, {"layer": tiling})["layer"]
    assert sums.shape == means.shape == tiling.grid
    assert means.dtype == torch.float64
    blocks = blocks_of(tiling.shape, tiling.block)
    for found, mean, where in zip(sums.flatten(), means.flatten(), blocks, strict=True):
        assert found.item() == pytest.approx(math.fsum(values[where].flatten().tolist()))
        assert mean.item() == pytest.approx(np.mean(values[where].numpy()))


@given(tilings())
def test_what_is_expanded_scores_what_it_was(tiling: Tiling) -> None:
    blocks = random(tiling.grid).float()
    means = block_scores({"layer": expanded(blocks, tiling)}, {"layer": tiling})["layer"]
    assert torch.equal(means, blocks.double())


def test_a_scheme_that_is_no_tiling_has_a_score_for_each_weight() -> None:
    layers = {"a": Layer("a", (4, 2, 3, 3)), "b": Layer("b", (5, 4))}
    assert tilings_of(scheme("nm"), layers)["a"].grid == (4, 2, 3, 3)
    grids = {name: tiling.grid for name, tiling in tilings_of(scheme("kernel"), layers).items()}
    assert grids == {"a": (4, 2, 1, 1), "b": (5, 4)}


def scheme(spec: str) -> ticketkit.Scheme:
    found = ticketkit.resolve("scheme", spec)
    assert isinstance(found, ticketkit.Scheme)
    return found


class Broken(ticketkit.BlockScheme):
    """Knows no block."""

    name = "broken"

    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(itertools.repeat(0, len(shape)))


def test_a_scheme_that_has_no_block_is_named() -> None:
    with pytest.raises(PluginError, match=r"part 'broken' .* positive integers"):
        tilings_of(Broken(), {"a": Layer("a", (4, 2))})
