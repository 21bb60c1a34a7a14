"""Brackets: they narrow, they know ties, they end."""

from __future__ import annotations

import numpy as np
import pytest

from ticketkit.sampling import Sample


def sample(scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Sample:
    return Sample([scores.reshape(-1, 1)], [1.0], np.dtype(np.float32), ties=True)


def test_a_bracket_holds_the_rank_and_little_else() -> None:
    scores = np.random.default_rng(0).normal(size=100_000).astype(np.float32).astype(np.float64)
    bracket = sample(scores).bracket(10_000)
    threshold = np.sort(scores)[-10_000]
    assert bracket.low < threshold < bracket.high
    assert not bracket.tied
    assert ((scores >= bracket.low) & (scores <= bracket.high)).mean() < 0.02


def test_an_edge_of_equal_scores_is_a_tie() -> None:
    bracket = sample(np.repeat([0.0, 1.0, 2.0, 3.0], 1000)).bracket(1500)
    assert bracket.tied
    assert bracket.low == bracket.high == 2.0


@pytest.mark.parametrize("keep", [0, 1, 4000])
def test_a_budget_at_either_end_is_bracketed_to_the_limit(keep: int) -> None:
    known = sample(np.random.default_rng(0).normal(size=4000)).bracket(keep)
    everything = sample(np.ones(1)).everything
    assert known.high == everything.high or known.low == everything.low


def test_an_empty_sample_brackets_everything() -> None:
    empty = sample(np.empty(0))
    assert empty.bracket(5) == empty.everything


def test_what_a_pass_has_proven_narrows_the_next_bracket() -> None:
    drawn = sample(np.repeat([0.0, 1.0, 2.0, 3.0], 1000))
    first = drawn.bracket(1500)
    assert drawn.bracket(1500, first.raised(drawn.dtype)).low == 3.0
    assert drawn.bracket(1500, first.lowered(drawn.dtype)).high == 1.0
    assert first.raised(drawn.dtype).floor > 2.0 > first.lowered(drawn.dtype).ceiling
