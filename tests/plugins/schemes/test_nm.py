"""Scheme `nm`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import resnet50

import ticketkit
from tests.plugins import grains
from tests.samples import little_memory
from ticketkit.testing import SchemeLaws
from ticketkit_plugins.schemes.nm import NM


class TestTwoOfFour(SchemeLaws):
    part = NM()


class TestOneOfThree(SchemeLaws):
    part = NM(n=1, m=3)


class TestAll(SchemeLaws):
    part = NM(n=2, m=2)


def best(scores: Any, n: int, m: int, alive: Any = None) -> Any:
    """The definition, run by run: the n of highest score, the earlier of equal ones."""
    keep = np.zeros(scores.shape, bool)
    for output in range(len(scores)):
        values, kept = scores[output].reshape(-1), keep[output].reshape(-1)
        there = np.ones(len(values), bool) if alive is None else alive[output].reshape(-1)
        for start in range(0, len(values), m):
            run = [at for at in range(start, start + m) if there[at]]
            kept[sorted(run, key=lambda at: (-values[at], at))[:n]] = True
    return keep


def selected(scheme: NM, scores: Any, within: Any = None) -> Any:
    size = scores.size
    budget = ticketkit.Budget(size - round(scheme.fixed_sparsity * size))
    mask = within is not None and ticketkit.Mask({"w": within})
    return scheme.select({"w": torch.from_numpy(scores)}, budget, mask or None)["w"].numpy()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_it_is_the_best_of_each_run(data: st.DataObject) -> None:
    m = data.draw(st.integers(1, 9) | st.sampled_from([32, 64, 65, 200]))
    n = data.draw(st.integers(1, m))
    kernel = data.draw(st.sampled_from([(), (3,), (2, 3)]))
    shape = (data.draw(st.integers(1, 5)), m * data.draw(st.integers(1, 3)), *kernel)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    levels = data.draw(st.sampled_from([1, 3, 10**6]))  # ties are the rule with few
    scores = rng.integers(-levels, levels + 1, shape).astype(np.float32)
    within = rng.random(shape) < 0.6 if data.draw(st.booleans()) else None
    scheme = NM(n, m)
    np.testing.assert_array_equal(selected(scheme, scores, within), best(scores, n, m, within))


@pytest.mark.parametrize("scheme", [NM(), NM(1, 4), NM(4, 8), NM(3, 200)])
def test_runs_without_ties_are_topk_of_torch(scheme: NM) -> None:
    order = torch.randperm(600_000, generator=torch.Generator().manual_seed(0))
    scores = order.double().reshape(300, 2000)  # several pieces
    runs = scores.reshape(-1, scheme.m)
    theirs = torch.zeros(runs.shape, dtype=torch.bool)
    theirs.scatter_(1, runs.topk(scheme.n, dim=1).indices, value=True)
    ours = selected(scheme, scores.numpy())
    np.testing.assert_array_equal(ours, theirs.reshape(scores.shape).numpy())


@pytest.mark.parametrize("name", grains.LAYERS)
@pytest.mark.parametrize("m", [2, 3, 4, 6])
def test_runs_follow_the_inputs_and_the_kernel_of_one_output(name: str, m: int) -> None:
    network, scheme = grains.layer(name), NM(1, m)
    weight: Any = grains.weight_of(network["layer"]).numpy()
    outputs: dict[int, list[Any]] = {}
    for index, join in grains.joins(network["layer"]):
        outputs.setdefault(join[0], []).append((join[1:], index))
    if len(outputs[0]) % m:
        assert scheme.spares((len(outputs), len(outputs[0])))
        return
    keep = np.zeros(weight.shape, bool)
    for joined in outputs.values():
        joined.sort()
        for run in (joined[start : start + m] for start in range(0, len(joined), m)):
            keep[max(run, key=lambda place: abs(float(weight[place[1]])))[1]] = True
    np.testing.assert_array_equal(grains.drawn(network, scheme, 1 - 1 / m), keep)


def test_it_needs_no_sparsity_and_takes_no_other() -> None:
    network = nn.Linear(8, 3)
    ticket = ticketkit.draw(network, scheme="nm:n=1,m=4")
    assert ticket.provenance.sparsity == ticket.mask.sparsity == 0.75
    assert ticket.provenance.scheme == "nm:n=1,m=4"
    assert ticketkit.draw(network, scheme="nm:n=1,m=4", sparsity=0.75) == ticket
    told = r"scheme nm:n=1,m=4 has a sparsity of its own, 0\.75; found 0\.5"
    with pytest.raises(ticketkit.UsageError, match=told):
        ticketkit.draw(network, scheme="nm:n=1,m=4", sparsity=0.5)
    third = ticketkit.draw(nn.Linear(6, 2), scheme=NM(2, 3), sparsity=1 / 3)
    assert third.mask.kept == 8


@pytest.mark.parametrize(
    "options", ["n=0", "n=5", "n=-1,m=4", "m=0", "n=3,m=2", "n=2.5", "n=two", "k=1"]
)
def test_options_without_meaning_are_refused(options: str) -> None:
    with pytest.raises(ticketkit.UsageError):
        ticketkit.draw(nn.Linear(8, 3), scheme=f"nm:{options}")


@pytest.mark.parametrize("wrong", [{"n": 2.0}, {"n": True}, {"m": None}])
def test_options_of_another_type_are_refused(wrong: Any) -> None:
    with pytest.raises(ticketkit.UsageError, match="1 <= n <= m; found"):
        NM(**wrong)


def test_as_many_as_there_are_is_sparsity_0_and_said() -> None:
    with pytest.warns(UserWarning, match="sparsity 0"):
        mask = ticketkit.draw(nn.Linear(8, 3), scheme=NM(4, 4)).mask
    assert mask.kept == mask.size


def test_layers_that_do_not_divide_are_in_no_mask_and_in_no_count() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
    ticket = ticketkit.draw(network, scheme="nm")
    assert list(ticket.mask) == ["1.weight"]
    assert ticket.counts.prunable == 576
    assert ticket.counts.weights == 576 + 216


def test_nothing_that_divides_is_refused_with_the_reasons() -> None:  # fault row 28
    told = r"nothing to prune: spared 0\.weight \(27 weights an output, no multiple of 4\), 1\.w"
    with pytest.raises(ticketkit.InputError, match=told):
        ticketkit.draw(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(6, 8, 3)), scheme="nm")


def test_an_included_vector_is_spared_and_named() -> None:
    with pytest.raises(ticketkit.InputError, match=r"bias \(1 weights an output"):
        ticketkit.draw(nn.Linear(3, 8), scheme="nm", include=["bias"])


@pytest.mark.parametrize("allocation", ["global", "uniform"])
def test_it_takes_allocations_that_share_evenly(allocation: str) -> None:
    network = nn.Sequential(nn.Linear(8, 6), nn.Linear(12, 5))
    mask = ticketkit.draw(network, scheme="nm", allocation=allocation).mask
    assert set(mask.layer_sparsity().values()) == {0.5}


@pytest.mark.parametrize(
    ("allocation", "told"),
    [
        ("erk", "scheme nm:n=2,m=4 removes 0.5 of each layer; allocation erk shares otherwise"),
        ("lamp", "scheme nm:n=2,m=4 ranks scores as they are: allocation lamp, which rescales"),
    ],
)
def test_it_refuses_every_other_allocation(allocation: str, told: str) -> None:
    network = nn.Sequential(nn.Linear(8, 60), nn.Linear(12, 5))
    with pytest.raises(ticketkit.UsageError, match=told):
        ticketkit.draw(network, scheme="nm", allocation=allocation)


class Halfway(ticketkit.Strategy):
    """Asks for half of the sparsity."""

    name = "halfway"

    def rounds(self, job: ticketkit.Job) -> Any:
        yield ticketkit.Round(job.select(job.sparsity / 2))


def test_a_strategy_that_asks_for_another_sparsity_is_refused() -> None:
    with pytest.raises(ticketkit.UsageError, match=r"Halfway asks for 0\.25"):
        ticketkit.draw(nn.Linear(8, 6), scheme="nm", strategy=Halfway())


def test_what_a_resnet50_keeps() -> None:
    ticket = ticketkit.draw(resnet50(), scheme="nm")
    assert "conv1.weight" not in ticket.mask  # 3 * 7 * 7 weights an output
    assert ticket.counts.prunable == 23_454_912 - 9_408
    assert ticket.mask.kept * 2 == ticket.mask.size


def test_no_temporary_is_as_large_as_the_weights() -> None:
    network = nn.Linear(4096, 4096, bias=False)  # 64 MiB
    ticketkit.draw(network, scheme="nm")
    with little_memory(16 * 2**20):
        ticketkit.draw(network, scheme="nm")
