"""Allocation `lamp`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ticketkit
from tests.core import oracle
from ticketkit import sampling
from ticketkit.testing import AllocationLaws
from ticketkit_plugins.allocations.lamp import Lamp


class TestLamp(AllocationLaws):
    part = Lamp()


def lamp(scores: Any) -> Any:
    """The formula of the paper, score by score, with equal scores in one sum."""
    flat = scores.astype(np.float64).reshape(-1)
    sums = [float((flat[flat >= s] ** 2).sum()) for s in flat]
    found = [s * s / total if total else 0.0 for s, total in zip(flat, sums, strict=True)]
    return np.array(found).reshape(scores.shape)


def means(scores: Any, block: tuple[int, ...]) -> Any:
    """Each weight's own block's mean score."""
    found = np.empty(scores.shape)
    for where in oracle.blocks_of(scores.shape, block):
        found[where] = scores[where].astype(np.float64).mean()
    return found


@given(st.lists(st.floats(0, 1e6, width=32), max_size=40))
def test_it_is_the_formula_of_the_paper(values: list[float]) -> None:
    scores = np.array(values, np.float64)
    found = Lamp().rescale(torch.from_numpy(scores.copy())).numpy()
    np.testing.assert_allclose(found, lamp(scores), rtol=1e-12, atol=1e-300)


def test_a_layer_of_zeros_stays_one_and_its_best_weight_scores_one() -> None:
    assert Lamp().rescale(torch.zeros(5).double()).tolist() == [0] * 5
    assert Lamp().rescale(torch.tensor([1.0, 3.0, 2.0]).double())[1] == 1
    assert Lamp().rescale(torch.tensor([2.0, 2.0]).double()).tolist() == [0.5, 0.5]


def network(seed: int = 0) -> nn.ModuleDict:
    torch.manual_seed(seed)
    layers = {"a": nn.Linear(40, 30), "b": nn.Conv2d(6, 8, 3), "c": nn.Linear(7, 9)}
    found = nn.ModuleDict(layers)
    for scale, layer in enumerate(layers.values()):
        layer.get_parameter("weight").detach().mul_(10.0**scale)
    return found


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("scheme", ["unstructured", "row", "kernel", "channel"])
@pytest.mark.parametrize("sparsity", [0.3, 0.6, 0.9])
def test_the_mask_is_that_of_a_full_sort_of_rescaled_means(
    scheme: str, sparsity: float, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not few:  # the way of large networks
        monkeypatch.setattr(sampling, "FEW", 0)
        monkeypatch.setattr(sampling, "_FEWEST", 100)
    part: Any = ticketkit.catalogue().find("scheme", scheme).part()
    weights = {n: p.detach().abs().numpy() for n, p in network().named_parameters() if p.dim() > 1}
    scores = {}
    for name, weight in weights.items():
        # The mean of a block's rescaled mean is the rescaled mean.
        block = part.block(weight.shape)
        mean, corners = means(weight, block), tuple(slice(None, None, side) for side in block)
        values = dict(zip(mean[corners].reshape(-1), lamp(mean[corners]).reshape(-1), strict=True))
        scores[name] = np.vectorize(values.__getitem__)(mean)
    total = sum(weight.size for weight in weights.values())
    theirs = oracle.select(scores, part.block, total - round(sparsity * total))
    ours = ticketkit.draw(network(), scheme=scheme, sparsity=sparsity, allocation="lamp").mask
    assert theirs is not None
    for name, keep in theirs.items():
        np.testing.assert_array_equal(ours[name].numpy(), keep, err_msg=name)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(0.05, 0.95))
def test_a_layer_keeps_its_largest_weights_and_the_count_is_exact(
    seed: int, sparsity: float
) -> None:
    model = network(seed)
    mask = ticketkit.draw(model, scheme="unstructured", sparsity=sparsity, allocation="lamp").mask
    assert mask.kept == mask.size - round(sparsity * mask.size)
    for name, keep in mask.items():
        weight = model.get_parameter(name).detach().abs()
        assert keep.all() or weight[keep].min() >= weight[~keep].max()


def test_scales_of_layers_do_not_matter_as_they_do_to_magnitudes() -> None:
    one, other = network(), network()
    other["a"].get_parameter("weight").detach().mul_(2.0**20)
    masks = [
        ticketkit.draw(model, scheme="unstructured", sparsity=0.8, allocation="lamp").mask
        for model in (one, other)
    ]
    assert masks[0] == masks[1]


def test_positions_that_were_removed_are_out_of_the_sums() -> None:
    budget = ticketkit.Budget(4, rescale=Lamp().rescale, allow_empty_layers=True)
    scores = {"a": torch.tensor([[8.0, 8.0, 3.0, 2.0]]), "b": torch.tensor([[4.0, 4.0, 4.0, 4.0]])}
    within = ticketkit.Mask({"a": [[False, False, True, True]], "b": [[True, True, True, True]]})
    part: Any = ticketkit.catalogue().find("scheme", "unstructured").part()
    mask = part.select(scores, budget, within)
    # What is left of a: 1 and 4/13; of b: 1/4 each.
    assert mask["a"].tolist() == [[False, False, True, True]]
    assert mask["b"].tolist() == [[True, True, False, False]]


def test_scores_below_zero_are_refused() -> None:
    class Signed(ticketkit.Criterion):
        """The weight itself."""

        name = "signed"

        def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
            return weight

    options: Any = {"scheme": "unstructured", "sparsity": 0.5, "allocation": "lamp"}
    with pytest.raises(ticketkit.UsageError, match="lamp needs scores of zero or more, found -"):
        ticketkit.draw(network(), criterion=Signed(), **options)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda s: s[:-1], "rescale returned shape"),
        (lambda s: s / 0, "rescale returned NaN or infinite"),
        (lambda s: s.int(), r"rescale returned torch\.int32"),
        (lambda s: None, "rescale returned NoneType"),
        (lambda s: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_an_allocation_that_rescales_amiss_is_named(answer: Any, told: str) -> None:
    class Amiss(ticketkit.Allocation):
        """Returns what it was told to."""

        name = "amiss"

        def budgets(self, layers: Any, keep: Any) -> None:
            return None

        def rescale(self, scores: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = answer(scores)
            return found

    with pytest.raises(
        ticketkit.PluginError, match=f"part 'amiss' not registered failed: .*{told}"
    ):
        ticketkit.draw(network(), scheme="row", sparsity=0.5, allocation=Amiss())


def test_layers_may_be_emptied_where_that_is_allowed() -> None:
    model = nn.ModuleDict({"a": nn.Linear(8, 8), "b": nn.Linear(3, 1)})
    model["b"].get_parameter("weight").detach().fill_(1)  # 1/3 each, below the best of a
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the layer that keeps nothing
        mask = ticketkit.draw(
            model,
            scheme="unstructured",
            sparsity=1 - 1 / 67,
            allocation="lamp",
            allow_empty_layers=True,
        ).mask
    assert [int(keep.sum()) for keep in mask.values()] == [1, 0]


def test_a_scheme_that_ranks_scores_as_they_are_meets_no_lamp() -> None:
    class First(ticketkit.Scheme):
        """The first weights of each layer."""

        name = "first"

        def select(
            self, scores: Any, budget: ticketkit.Budget, within: ticketkit.Mask | None
        ) -> ticketkit.Mask:
            raise NotImplementedError

    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with pytest.raises(ticketkit.UsageError, match="allocation lamp, which rescales them"):
        ticketkit.draw(network, scheme=First(), sparsity=0.5, allocation="lamp")
