"""A mask that is learned: what it keeps, what its scores are told, and what it leaves alone."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import ticketkit
from tests.core.networks import Mixed, Named, network, pictures, same_bits
from tests.core.oracle import select
from tests.learners import Learner
from ticketkit.errors import Stopped, TrainingError, UsageError
from ticketkit.grids import expanded
from ticketkit.learned import LearnedMask
from ticketkit.schedules import Schedule
from ticketkit.threats import ThreatModel

SHORT = Schedule(epochs=3, batch=16, optimizer="adam", lr=0.05, weight_decay=0.0)
SCHEMES = ["unstructured", "row", "kernel", "channel", "nm"]
COMBINED = [
    (scheme, allocation)
    for scheme in SCHEMES
    for allocation in ("uniform", "global", "erk", "lamp")
    if scheme != "nm" or allocation in ("uniform", "global")  # it has a sparsity of its own
]


class Oblong(ticketkit.BlockScheme):
    """Blocks that no side of a layer is a multiple of."""

    name = "oblong"

    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (4, 2, 2, 1)[: len(shape)]


def batch(count: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, 4, 6, 6, generator=generator)
    return inputs, torch.randint(3, (count,), generator=generator)


def learner(scheme: Any = "unstructured", allocation: str = "uniform", **options: Any) -> Learner:
    sparsity = None if scheme == "nm" else 0.6
    return Learner(Mixed(), scheme, sparsity, allocation, **options)


def by_name(learned: LearnedMask, job: Learner) -> dict[str, torch.nn.Parameter]:
    return dict(zip(sorted(job.layers), learned.scores, strict=True))


@pytest.mark.parametrize("scheme", ["unstructured", "row", "kernel", "channel", Oblong()])
def test_outputs_and_gradients_are_those_of_a_mask_by_hand(scheme: Any) -> None:
    job, hand = learner(scheme), Mixed()
    inputs, targets = batch()
    with job.learning() as learned:
        loss = cross_entropy(learned(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        scores = by_name(learned, job)
    weights, ms = {}, {}
    for name, layer in job.layers.items():
        magnitudes = expanded(scores[name].detach().abs(), job.tilings[name])
        block = job.tilings[name].block
        keep = layer.size - round(0.6 * layer.size)
        kept = select({name: magnitudes.numpy()}, lambda _, block=block: block, keep)
        assert kept is not None
        m = layer.restore(torch.from_numpy(kept[name])).float().requires_grad_()
        ms[name] = m
        weights[name] = m * hand.get_parameter(name).detach()
    theirs = cross_entropy(functional_call(hand, weights, (inputs,)), targets)
    theirs.backward()  # type: ignore[no-untyped-call]
    assert torch.equal(loss, theirs)
    for name, m in ms.items():
        assert m.grad is not None
        score = scores[name]
        assert score.grad is not None
        summed = torch.zeros_like(score)
        of_m = job.layers[name].present(m.grad)
        for place in itertools.product(*map(range, score.shape)):
            block = job.tilings[name].block
            where = tuple(slice(i * b, (i + 1) * b) for i, b in zip(place, block, strict=True))
            summed[place] = of_m[where].sum()
        torch.testing.assert_close(score.grad, score.detach().sign() * summed)
    for one, other in zip(job.network.fc.parameters(), hand.fc.parameters(), strict=True):  # type: ignore[union-attr]
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_removed_weights_too_tell_their_scores() -> None:
    job = learner()
    inputs, targets = batch()
    with job.learning() as learned:
        cross_entropy(learned(inputs), targets).backward()  # type: ignore[no-untyped-call]
        removed = [~learned.mask()[name] for name in sorted(job.layers)]
        for name, score, gone in zip(sorted(job.layers), learned.scores, removed, strict=True):
            assert score.grad is not None
            told = job.layers[name].restore(score.grad)[gone]
            assert (told != 0).float().mean() > 0.2, name  # but behind a ReLU that is off


@pytest.mark.parametrize(("scheme", "allocation"), COMBINED)
def test_every_forward_keeps_what_the_budget_allows(scheme: str, allocation: str) -> None:
    job = learner(scheme, allocation)
    budget = job.budget
    inputs, targets = batch()
    seen: list[dict[str, int]] = []
    with job.learning() as learned:
        hooks = _watched(learned, job, seen)
        optimizer = torch.optim.Adam([p for p in learned.parameters() if p.requires_grad], 0.1)
        for _ in range(4):
            optimizer.zero_grad()
            cross_entropy(learned(inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        for hook in hooks:
            hook.remove()
    assert len(seen) == 4
    biggest = max(job.tilings[name].size for name in job.layers) - 1
    for kept in seen:
        assert set(kept) == set(job.layers)
        assert 0 <= budget.total - sum(kept.values()) <= biggest * len(budget.shares or [0])
        if scheme in ("unstructured", "nm"):
            assert sum(kept.values()) == budget.total
        for name, share in (budget.shares or {}).items():
            assert share - job.tilings[name].size < kept[name] <= share


def _watched(learned: LearnedMask, job: Learner, seen: list[dict[str, int]]) -> list[Any]:
    """Counts, in each forward, the weights that a layer is run with and that are not zero."""
    modules = {name.removesuffix(".weight"): name for name in job.layers}

    def begin(*_: object) -> None:
        seen.append({})

    def count(name: str) -> Any:
        def counted(module: nn.Module, _: object) -> None:
            weight = module.weight
            assert isinstance(weight, torch.Tensor)
            assert not torch.signbit(weight[weight == 0]).any()
            seen[-1][name] = int(weight.count_nonzero())

        return counted

    inner = learned.network
    hooks = [inner.get_submodule(p).register_forward_pre_hook(count(n)) for p, n in modules.items()]
    return [inner.register_forward_pre_hook(begin), *hooks]


@pytest.mark.parametrize("policy", ["train", "eval", "recalibrate"])
@pytest.mark.parametrize("robustifier", [None, "pgd:norm=l2,eps=0.3,steps=2"])
def test_training_changes_scores_and_head_and_nothing_else(
    policy: Any, robustifier: str | None
) -> None:
    model = Named()
    model.body[0].bias.requires_grad_(False)
    before = copy.deepcopy(model)
    job = Learner(model)
    with job.learning() as learned:
        first, scores = learned.mask(), [score.detach().clone() for score in learned.scores]
        schedule = replace(SHORT, batchnorm=policy)
        ticketkit.fit(learned, pictures(), schedule=schedule, robustifier=robustifier)
        assert learned.mask() != first
        changed = [(a != b).any() for a, b in zip(learned.scores, scores, strict=True)]
        assert all(changed)
    state, old = model.state_dict(), before.state_dict()
    moved = {name for name in state if not torch.equal(state[name], old[name])}
    statistics = {name for name in state if "running" in name or "tracked" in name}
    assert moved == {"fc.weight", "fc.bias", *(statistics if policy != "eval" else ())}
    for (name, one), other in zip(model.named_parameters(), before.parameters(), strict=True):
        assert one.requires_grad == other.requires_grad, name
        assert one.grad is None


def test_an_attack_selects_no_more_and_leaves_all_as_it_is() -> None:
    job = learner()
    inputs, targets = batch()
    calls = []
    plain = job.select
    job.select = lambda scores: calls.append(1) or plain(scores)  # type: ignore[func-returns-value, method-assign]
    with job.learning() as learned:
        learned.train()
        before = copy.deepcopy(learned)
        found = ticketkit.attack(learned, inputs, targets, ThreatModel("l2", 0.5, steps=5))
        assert not torch.equal(found, inputs)
        assert same_bits(learned, before)
        assert learned.training
        assert all(parameter.grad is None for parameter in learned.parameters())
        assert len(calls) == 1
        with torch.no_grad():
            learned.scores[0].neg_()
        learned(inputs)
        assert len(calls) == 2


def test_an_attack_is_that_of_the_masked_network() -> None:
    job, hand = learner(), Mixed()
    inputs, targets = batch()
    threat = ThreatModel("linf", 0.1, steps=3)
    with job.learning() as learned:
        found = ticketkit.attack(learned, inputs, targets, threat)
        learned.mask().apply_(hand)
    assert torch.equal(found, ticketkit.attack(hand, inputs, targets, threat))


@pytest.mark.parametrize("scheme", ["unstructured", "channel"])
def test_copies_and_pickles_learn_by_themselves(scheme: str) -> None:
    job = learner(scheme)
    inputs, _ = batch()
    with job.learning() as learned:
        outputs = learned.eval()(inputs)
        for other in (copy.deepcopy(learned), pickle.loads(pickle.dumps(learned))):
            assert torch.equal(other(inputs), outputs)
            with torch.no_grad():
                for score in other.scores:
                    score.copy_(1 / score)
            assert other.mask() != learned.mask()
        assert torch.equal(learned(inputs), outputs)


def test_weights_in_another_layout_dtype_and_precision_are_masked_alike() -> None:
    inputs, targets = batch()
    found = []
    for last in (False, True):
        job = learner("kernel")
        if last:
            job.network.to(memory_format=torch.channels_last)
        with job.learning() as learned:
            loss = cross_entropy(learned(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            found.append((loss, learned.mask(), _gradients(learned)))
            with torch.autocast("cpu", torch.bfloat16):
                half = cross_entropy(learned(inputs), targets)
            half.backward()  # type: ignore[no-untyped-call]
            assert half.item() == pytest.approx(loss.item(), rel=0.05)
            learned.double()
            assert learned.mask() == found[0][1]
            assert learned(inputs.double()).dtype == torch.float64
    (loss, mask, gradients), (other, same, others) = found
    assert mask == same
    torch.testing.assert_close(loss, other)
    torch.testing.assert_close(gradients, others)


def _gradients(learned: LearnedMask) -> list[torch.Tensor]:
    return [score.grad.clone() for score in learned.scores if score.grad is not None]


def test_tied_weights_have_one_score_and_hooks_run() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
            self.two.weight = self.one.weight
            self.fc = nn.Linear(6, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.fc(self.two(self.one(inputs).relu()))
            return found

    model = Tied()
    model.register_forward_hook(lambda module, inputs, output: -output)
    job = Learner(model)
    inputs = torch.rand(2, 6)
    with job.learning() as learned:
        assert len(learned.scores) == 1
        outputs = learned(inputs)
        mask = learned.mask()
    mask.apply_(model)
    assert torch.equal(outputs, model(inputs))


def test_a_normalised_network_normalises() -> None:
    job, hand = learner(), ticketkit.normalised(Mixed(), [0.5], [0.2])
    ticketkit.normalised(job.network, [0.5], [0.2])
    inputs, _ = batch()
    with job.learning() as learned:
        learned.mask().apply_(hand)
        assert torch.equal(learned(inputs), hand(inputs))


def test_a_training_of_scores_stopped_after_any_step_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(run: str, *, resume: bool = False) -> LearnedMask:
        with Learner(Named()).learning() as learned:
            options: dict[str, Any] = {"schedule": SHORT, "run": tmp_path / run, "resume": resume}
            ticketkit.fit(learned, pictures(), **options)
            return learned

    whole = fit("whole")
    for step in range(1, 12):
        with monkeypatch.context() as patch:
            patch.setattr("ticketkit.stopping._requested", lambda: 75)
            with pytest.raises(Stopped, match=f"after step {step} "):
                fit("broken", resume=step > 1)
    found = fit("broken", resume=True)
    assert same_bits(found, whole)
    assert found.mask() == whole.mask()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(COMBINED))
def test_signs_of_scores_and_their_scale_decide_nothing(seed: int, parts: tuple[str, str]) -> None:
    scheme, allocation = parts
    job = learner(scheme, allocation)
    scores = job.random_scores(seed)
    lots = np.random.default_rng(seed)
    signs = {n: torch.from_numpy(lots.choice([-2.0, 2.0], s.shape)) for n, s in scores.items()}
    with (
        job.learning(scores) as one,
        job.learning({n: signs[n] * scores[n] for n in scores}) as two,
    ):
        assert one.mask() == two.mask()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_told(value: float) -> None:
    with learner().learning() as learned:
        with torch.no_grad():
            learned.scores[1].view(-1)[3] = value
        with pytest.raises(TrainingError, match=r"scores of grouped\.weight are not finite"):
            learned(batch()[0])


def test_scores_that_do_not_fit_are_refused_and_nothing_stays_frozen() -> None:
    job = learner("kernel")
    scores = job.random_scores()
    short = {name: score for name, score in scores.items() if name != "first.weight"}
    bent = {**scores, "first.weight": torch.ones(6)}
    for odd, error, message in (
        (short, ValueError, "must name every layer and no other; differs in first.weight"),
        (bent, ValueError, "scores of first.weight returned shape (6,), where (6, 4, 1, 1)"),
        ({**scores, "first.weight": scores["first.weight"] * np.nan}, ValueError, "NaN"),
        ({**scores, "first.weight": scores["first.weight"].int()}, TypeError, "floating"),
    ):
        with pytest.raises(error, match=re.escape(message)), job.learning(odd):
            pass
    assert all(parameter.requires_grad for parameter in job.network.parameters())


def test_a_head_is_not_pruned() -> None:
    job = learner()
    layer = ticketkit.Layer("fc.weight", (3, 16))
    job.layers["fc.weight"] = layer
    job.tilings["fc.weight"] = replace(job.tilings["linear.weight"], shape=(3, 16))
    with pytest.raises(UsageError, match=r"fc\.weight: a task head is trained beside the mask"):
        job.learning().__enter__()
    with pytest.raises(UsageError, match="no task head by its name"):
        Learner(network()).learning().__enter__()
