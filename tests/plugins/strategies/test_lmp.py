"""Strategy `lmp`: what its scores start from, and what comes of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import ticketkit
from tests.core.networks import Mixed, Named, pictures, same_bits
from tests.learners import Learner
from ticketkit.choices import Parts
from ticketkit_plugins.strategies.lmp import Lmp, hydra, kaiming, weight_rank, weight_scaled

STARTS: Any = ["kaiming", "weight_rank", "weight_scaled", "hydra"]
SHORT = ticketkit.Schedule(epochs=3, batch=16, optimizer="adam", lr=0.02, weight_decay=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def importance(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(7), dtype=torch.float64).abs()


def mask_of(job: Any, **options: Any) -> ticketkit.Mask:
    (round_,) = Lmp(**options).rounds(job)
    return round_.mask


@pytest.mark.parametrize("scheme", ["unstructured", "row", "kernel", "channel", "nm"])
@pytest.mark.parametrize("sparsity", [0.3, 0.8])
def test_no_steps_from_the_rank_of_weights_are_omp_in_each_layer(
    scheme: str, sparsity: float
) -> None:
    asked = None if scheme == "nm" else sparsity
    omp = ticketkit.draw(Mixed(), scheme=scheme, sparsity=asked, allocation="uniform").mask
    assert mask_of(Learner(Mixed(), scheme, asked)) == omp


def test_ties_of_weights_are_broken_as_omp_does() -> None:
    model = Mixed()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((4 * parameter).round() / 4)  # a handful of magnitudes
    for scheme in ("unstructured", "row", "kernel"):
        omp = ticketkit.draw(model, scheme=scheme, sparsity=0.5, allocation="uniform").mask
        assert mask_of(Learner(model, scheme, 0.5)) == omp


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 99))
def test_the_rank_of_scores_is_that_of_the_importances(numbers: list[int], seed: int) -> None:
    importances = torch.tensor(numbers, dtype=torch.float64).reshape(1, -1)
    scores = weight_rank(importances, generator(seed)).flatten()
    assert scores.dtype == torch.float32
    assert len(set(scores.tolist())) == len(numbers)
    expected = sorted(range(len(numbers)), key=lambda place: (-numbers[place], place))
    assert scores.argsort(descending=True).tolist() == expected


def test_lots_that_are_equal_are_moved_apart_and_hardly_at_all() -> None:
    # Of 2^22 lots among 2^23 numbers many are equal.
    importances = torch.arange(2**22, dtype=torch.float64).reshape(1, -1)
    lots = kaiming(importances, generator()).abs().flatten().sort().values
    assert (lots.diff() == 0).any()
    scores = weight_rank(importances, generator()).flatten()
    assert (scores.diff() > 0).all()
    torch.testing.assert_close(scores, lots, rtol=1e-5, atol=1e-9)


def test_kaiming_is_uniform_by_the_fan_in_and_normal_for_whole_outputs() -> None:
    found = kaiming(importance(64, 32, 3, 3), generator())
    theirs = torch.empty(64, 32, 3, 3)
    torch.nn.init.kaiming_uniform_(theirs, a=math.sqrt(5), generator=generator())
    torch.testing.assert_close(found, theirs)
    normal = kaiming(importance(4096, 1, 1, 1), generator())
    assert stats.kstest(normal.flatten().numpy(), "norm").pvalue > 0.01
    again = kaiming(importance(64, 32, 3, 3), generator())
    assert torch.equal(found, again)
    assert not torch.equal(found, kaiming(importance(64, 32, 3, 3), generator(1)))


def test_ranked_scores_are_the_magnitudes_of_kaimings() -> None:
    lots = kaiming(importance(8, 4, 3, 3), generator()).abs()
    ranked = weight_rank(importance(8, 4, 3, 3), generator())
    assert torch.equal(ranked.flatten().sort().values, lots.flatten().sort().values)


def test_scaled_starts_are_the_importances_times_a_number() -> None:
    importances = importance(6, 4, 3, 3)
    assert torch.equal(weight_scaled(importances, generator()), importances.float())
    scores = hydra(importances, generator())
    assert scores.max().item() == pytest.approx(math.sqrt(6 / 36))
    np.testing.assert_allclose(scores / scores.max(), importances / importances.max(), rtol=1e-6)
    assert torch.equal(hydra(torch.zeros(2, 3).double(), generator()), torch.zeros(2, 3))


@pytest.mark.parametrize("start", STARTS)
def test_each_start_begins_with_as_many_as_may_be_kept_and_learns(start: Any) -> None:
    model, before = Named(), Named()
    job = Learner(model, "unstructured", 0.75, data=pictures(), schedule=SHORT)
    mask = mask_of(job, start=start)
    assert job.first is not None
    assert mask.kept == job.first.kept == 18
    assert mask != job.first
    assert same_bits(model, before)
    assert mask_of(job, start=start) == mask
    omp = ticketkit.draw(model, scheme="unstructured", sparsity=0.75, allocation="uniform").mask
    assert (job.first == omp) == (start != "kaiming")


def test_what_is_learned_does_better_than_what_it_began_with() -> None:
    data = pictures(100)
    schedule = ticketkit.Schedule(steps=1, batch=100, lr=0.0, weight_decay=0.0)
    still = Learner(Named(), "kernel", 0.75, data=data, schedule=schedule)
    mask_of(still)
    moved = Learner(Named(), "kernel", 0.75, data=data, schedule="small:lr=0.02,augment=none")
    mask_of(moved)
    losses = []
    for job in (still, moved):
        assert job.trained is not None
        found = ticketkit.evaluate(job.trained, data, ["accuracy"])["accuracy"]["top1"].value
        losses.append(found)
    assert losses[1] > losses[0] + 0.2


def test_its_defaults_are_uniform_and_the_schedule_of_masks() -> None:
    assert (Lmp().allocation, Lmp().stage, Lmp().trains) == ("uniform", "mask", True)
    assert ticketkit.spec_of(Lmp()) == "lmp:start=weight_rank"
    with pytest.raises(ticketkit.UsageError, match="start is one of kaiming, weight_rank"):
        ticketkit.resolve("strategy", "lmp:start=random")


@pytest.mark.parametrize("start", STARTS)
def test_a_criterion_that_decides_nothing_is_refused(start: Any) -> None:
    Lmp(start=start).check(Parts.resolve("row", "magnitude", "uniform", "omp"))
    other = Parts.resolve("row", "random", "uniform", "omp")
    if start == "weight_rank":
        Lmp(start=start).check(other)
        return
    with pytest.raises(ticketkit.UsageError, match=f"lmp:start={start} begins with .* random"):
        Lmp(start=start).check(other)
