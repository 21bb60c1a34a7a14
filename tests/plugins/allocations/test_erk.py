"""Allocation `erk`."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import resnet50

import ticketkit
from ticketkit.testing import AllocationLaws
from ticketkit_plugins.allocations.erk import Erk


class TestErk(AllocationLaws):
    part = Erk()


Shapes = Mapping[str, tuple[int, ...]]


def fractions(shapes: Shapes, total: int) -> dict[str, Fraction]:
    """The paper's densities: proportional, and where some exceed 1, those dense, the rest again."""
    sizes = {name: Fraction(math.prod(shape)) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    dense: set[str] = set()
    while True:
        left = total - sum(sizes[name] for name in dense)
        rest = [name for name in shapes if name not in dense]
        scale = (
            left / sum((raw[name] * sizes[name] for name in rest), Fraction(0)) if rest else left
        )
        if not (above := {name for name in rest if scale * raw[name] > 1}):
            return {n: s * (1 if n in dense else scale * raw[n]) for n, s in sizes.items()}
        dense |= above


def seats(shapes: Shapes, total: int) -> dict[str, int]:
    """Sainte-Lague's divisors, seat by seat: one each, then to the largest sum / (count + 1/2)."""
    found = dict.fromkeys(sorted(shapes), 1)
    queue = [(Fraction(3, 2) / sum(shape), name) for name, shape in sorted(shapes.items())]
    heapq.heapify(queue)
    for _ in range(total - len(shapes)):
        while found[(name := heapq.heappop(queue)[1])] == math.prod(shapes[name]):
            pass
        found[name] += 1
        heapq.heappush(queue, ((found[name] + Fraction(1, 2)) / sum(shapes[name]), name))
    return found


def budgets(shapes: Shapes, total: int) -> dict[str, int]:
    layers = {name: ticketkit.Layer(name, shape) for name, shape in shapes.items()}
    return dict(Erk().budgets(layers, lambda size: total))


SHAPES = st.lists(
    st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple), min_size=1, max_size=8
).map(lambda shapes: {f"layer{at}": shape for at, shape in enumerate(shapes)})


@settings(max_examples=300, deadline=None)
@given(SHAPES, st.data())
def test_the_counts_are_the_divisors_and_exact(shapes: Any, data: st.DataObject) -> None:
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    total = data.draw(st.integers(0, sum(sizes.values())))
    found = budgets(shapes, total)
    assert sum(found.values()) == total
    assert all(0 <= found[name] <= size for name, size in sizes.items())
    if total >= len(shapes):
        assert found == seats(shapes, total)


@settings(max_examples=100, deadline=None)
@given(SHAPES)
def test_no_layer_loses_a_weight_when_the_budget_grows(shapes: Any) -> None:
    before = budgets(shapes, 0)
    for total in range(1, sum(math.prod(shape) for shape in shapes.values()) + 1):
        after = budgets(shapes, total)
        assert all(after[name] >= before[name] for name in shapes)
        before = after


def largest_remainders(exact: Mapping[str, Fraction], total: int) -> dict[str, int]:
    found = {name: math.floor(value) for name, value in exact.items()}
    left = total - sum(found.values())
    for name in sorted(exact, key=lambda name: (found[name] - exact[name], name))[:left]:
        found[name] += 1
    return found


@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.8, 0.9, 0.95, 0.99])
def test_a_resnet50_gets_the_densities_of_the_paper_to_less_than_one_weight(
    sparsity: float,
) -> None:
    with torch.device("meta"):
        model = resnet50()
    shapes = {
        n: tuple(p.shape) for n, p in model.named_parameters() if p.dim() > 1 and n != "fc.weight"
    }
    size = sum(math.prod(shape) for shape in shapes.values())
    total = size - round(sparsity * size)
    exact, found = fractions(shapes, total), budgets(shapes, total)
    assert max(abs(found[name] - exact[name]) for name in shapes) < 1
    other = largest_remainders(exact, total)
    assert max(abs(found[name] - other[name]) for name in shapes) <= 1


def test_largest_remainders_would_take_a_weight_away_as_the_budget_grows() -> None:
    shapes = {"a": (6, 6), "b": (6, 6), "c": (2, 2)}  # the Alabama paradox
    assert [largest_remainders(fractions(shapes, n), n)["c"] for n in (10, 11)] == [2, 1]
    assert [budgets(shapes, n)["c"] for n in (10, 11)] == [1, 1]


def test_kernel_sizes_count_and_small_layers_stay_dense() -> None:
    # Sums of dimensions: 60, 16 and 26; the second would have to keep 21 of 15.
    shapes = {"a": (30, 30), "b": (1, 15), "c": (10, 10, 3, 3)}
    assert budgets(shapes, 135) == {"a": 84, "b": 15, "c": 36}


def test_a_draw_uses_presented_shapes_and_meets_the_counts() -> None:
    model = nn.ModuleDict({"up": nn.ConvTranspose2d(8, 6, 3, groups=2), "last": nn.Linear(20, 30)})
    mask = ticketkit.draw(model, scheme="unstructured", sparsity=0.7, allocation="erk").mask
    shapes = {"up.weight": (6, 4, 3, 3), "last.weight": (30, 20)}
    assert {name: int(keep.sum()) for name, keep in mask.items()} == budgets(shapes, mask.kept)


def test_fewer_weights_than_layers_go_to_the_densest_ones() -> None:
    assert budgets({"a": (4, 4), "b": (1, 2), "c": (2, 2)}, 2) == {"a": 0, "b": 1, "c": 1}
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(2, 1), "c": nn.Linear(2, 2)})
    with pytest.raises(ticketkit.UnreachableSparsity):
        ticketkit.draw(model, scheme="unstructured", sparsity=0.9, allocation="erk")
