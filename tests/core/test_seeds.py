"""Numbers that are functions of where they are used."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ticketkit.seeds import order, seed_of, uniform

SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, st.integers(0, 10**6), st.integers(1, 500))
def test_an_order_is_a_permutation(seed: int, epoch: int, count: int) -> None:
    assert sorted(order(seed, epoch, count)) == list(range(count))


@given(SEEDS, st.integers(0, 100))
def test_another_epoch_or_seed_has_another_order(seed: int, epoch: int) -> None:
    first = order(seed, epoch, 100).tolist()
    assert first == order(seed, epoch, 100).tolist()
    assert first != order(seed, epoch + 1, 100).tolist()
    assert first != order(seed + 1, epoch, 100).tolist()


@given(SEEDS, st.lists(st.integers(0, 10**9), min_size=1, max_size=20, unique=True))
def test_a_samples_numbers_do_not_depend_on_its_batch(seed: int, indices: list[int]) -> None:
    together = uniform(seed, 3, np.array(indices), 4)
    alone = np.concatenate([uniform(seed, 3, np.array([index]), 4) for index in indices])
    assert np.array_equal(together, alone)


def test_numbers_are_uniform_and_independent() -> None:
    found = uniform(0, 0, np.arange(200_000), 3)
    assert found.min() >= 0
    assert found.max() < 1
    # Within five standard errors of the mean 1/2, the variance 1/12 and the correlation 0.
    assert np.abs(found.mean(0) - 0.5).max() < 5 / np.sqrt(12 * 200_000)
    assert np.abs(found.var(0) - 1 / 12).max() < 5 * np.sqrt(1 / 180 / 200_000)
    correlations = np.corrcoef(np.vstack([found.T, np.roll(found[:, 0], 1)]))
    assert np.abs(correlations - np.eye(4)).max() < 5 / np.sqrt(200_000)


def test_no_place_in_an_order_is_favoured() -> None:
    where = np.array([np.argsort(order(seed, 0, 10)) for seed in range(5000)])
    assert np.abs(where.mean(0) - 4.5).max() < 5 * np.sqrt(8.25 / 5000)


def test_what_is_drawn_does_not_depend_on_versions_or_processes() -> None:
    # Frozen: a run that was begun with another version of NumPy or torch goes on in the same order.
    assert order(0, 1, 10).tolist() == [7, 8, 0, 4, 1, 5, 2, 6, 9, 3]
    assert seed_of(0, "step", 7) == int(
        subprocess.run(
            [sys.executable, "-c", "from ticketkit.seeds import *; print(seed_of(0, 'step', 7))"],
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    )


def test_words_are_kept_apart() -> None:
    assert seed_of("ab", "c") != seed_of("a", "bc")
    assert 0 <= seed_of(1) < 2**63
