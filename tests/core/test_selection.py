"""Selection against a reference that sorts everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import prune

from tests.core import oracle
from ticketkit import Budget, Mask, UnreachableSparsity, sampling
from ticketkit.selection import select_tiles

Shape = tuple[int, ...]
BLOCKS: dict[str, Callable[[Shape], Shape]] = {
    "unstructured": lambda shape: (1,) * len(shape),
    "row": lambda shape: (*(1,) * (len(shape) - 1), shape[-1]),
    "kernel": lambda shape: (1, 1, *shape[2:]),
    "channel": lambda shape: (1, *shape[1:]),
    "stripe": lambda shape: (2, *shape[1:]),
    "bricks": lambda shape: tuple(min(2, side) for side in shape),
    "columns": lambda shape: (3, *(1,) * (len(shape) - 1)),
}
SHAPES: list[Shape] = [(4, 3, 3, 3), (5, 4), (7, 1, 3), (1, 1), (2, 3, 1, 1), (6, 2, 2, 3, 2)]
KINDS: dict[str, Callable[[np.random.Generator, Shape], Any]] = {
    "normal": lambda rng, shape: np.abs(rng.normal(size=shape)),
    "tied": lambda rng, shape: rng.integers(0, 3, shape).astype(float),
    "sparse": lambda rng, shape: rng.normal(size=shape) * (rng.random(shape) < 0.2),
    "signed": lambda rng, shape: rng.normal(size=shape),
    "equal": lambda rng, shape: np.ones(shape),
}


def _scores(seed: int, kind: str, shapes: list[Shape], dtype: type = np.float32) -> Any:
    rng = np.random.default_rng(seed)
    return {f"layer{i}": KINDS[kind](rng, s).astype(dtype) for i, s in enumerate(shapes)}


def _select(scores: Any, block: Any, budget: Budget, within: Any = None) -> dict[str, Any] | None:
    tensors = {name: torch.from_numpy(value) for name, value in scores.items()}
    try:
        mask = select_tiles(block, tensors, budget, within and Mask(within))
    except UnreachableSparsity:
        return None
    return {name: keep.numpy() for name, keep in mask.items()}


def _same(ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> None:
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        for name, keep in theirs.items():
            np.testing.assert_array_equal(ours[name], keep, err_msg=name)


@pytest.fixture(params=["collected", "bracketed"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways through a selection: all blocks collected, or a bracket around the budget."""
    if request.param == "bracketed":
        monkeypatch.setattr(sampling, "FEW", 0)
        monkeypatch.setattr(sampling, "_FEWEST", 40)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_that_of_a_full_sort(name: str, kind: str) -> None:
    for seed, share in enumerate((0.02, 0.1, 0.35, 0.5, 0.8, 1.0)):
        for allow_empty in (False, True):
            scores = _scores(seed, kind, SHAPES)
            keep = max(1, round(share * sum(value.size for value in scores.values())))
            ours = _select(scores, BLOCKS[name], Budget(keep, None, allow_empty))
            theirs = oracle.select(scores, BLOCKS[name], keep, allow_empty_layers=allow_empty)
            _same(ours, theirs)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_block_on_any_shape_gives_the_mask_of_a_full_sort(data: st.DataObject) -> None:
    shapes = data.draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4))
    sides = data.draw(st.lists(st.integers(1, 4), min_size=5, max_size=5))
    scores = _scores(data.draw(st.integers(0, 99)), data.draw(st.sampled_from(list(KINDS))), shapes)
    keep = data.draw(st.integers(1, sum(value.size for value in scores.values())))

    def block(shape: Shape) -> Shape:
        return tuple(min(a, b) for a, b in zip(shape, sides, strict=False))

    _same(_select(scores, block, Budget(keep)), oracle.select(scores, block, keep))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", BLOCKS)
def test_positions_that_were_removed_are_out_of_the_ranking(name: str) -> None:
    scores = _scores(3, "signed", SHAPES)
    rng = np.random.default_rng(9)
    within = {layer: rng.random(value.shape) < 0.7 for layer, value in scores.items()}
    keep = round(0.4 * sum(int(alive.sum()) for alive in within.values()))
    ours = _select(scores, BLOCKS[name], Budget(keep), within)
    _same(ours, oracle.select(scores, BLOCKS[name], keep, within=within))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["normal", "coarse", "sparse", "constant"])
def test_a_bracket_of_a_large_layer_is_exact(kind: str, dtype: type) -> None:
    rng = np.random.default_rng(1)
    values = {
        "normal": rng.normal(size=400_000),
        "coarse": rng.integers(0, 8, 400_000).astype(float),
        "sparse": rng.normal(size=400_000) * (rng.random(400_000) < 0.2),
        "constant": np.ones(400_000),
    }[kind]
    scores = {"a": np.abs(values[:250_000]).reshape(500, 500).astype(dtype)}
    scores["b"] = np.abs(values[250_000:]).reshape(300, 500).astype(dtype)
    flat = np.concatenate([scores["a"].reshape(-1), scores["b"].reshape(-1)])
    order = np.argsort(-flat, kind="stable")
    for keep in (1000, 40_000, 125_000, 200_000, 399_000):
        expected = np.zeros(flat.size, bool)
        expected[order[:keep]] = True
        ours = _select(scores, BLOCKS["unstructured"], Budget(keep, None, True))
        assert ours is not None
        np.testing.assert_array_equal(
            np.concatenate([ours["a"].reshape(-1), ours["b"].reshape(-1)]), expected
        )


@given(st.integers(0, 50), st.sampled_from(sorted(BLOCKS)))
@settings(max_examples=40, deadline=None)
def test_masks_are_nested_in_sparsity(seed: int, name: str) -> None:
    scores = _scores(seed, "tied", SHAPES)
    total = sum(value.size for value in scores.values())
    before = None
    for keep in range(total // 2, total + 1, max(1, total // 17)):
        mask = _select(scores, BLOCKS[name], Budget(keep))
        assert mask is not None
        if before is not None:
            assert all((mask[n] >= before[n]).all() for n in mask)
        before = mask


def test_the_mask_is_that_of_torch_where_its_ties_allow() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.Conv2d(16, 32, 3))
    scores = {n: p.detach().abs().numpy() for n, p in network.named_parameters() if p.dim() > 1}
    size = sum(value.size for value in scores.values())
    keep = size - round(0.9 * size)
    ours = _select(scores, BLOCKS["unstructured"], Budget(keep, None, True))
    targets = [(network[0], "weight"), (network[1], "weight")]
    prune.global_unstructured(targets, prune.L1Unstructured, amount=0.9)
    assert ours is not None
    for index in (0, 1):
        theirs = dict(network[index].named_buffers())["weight_mask"].numpy().astype(bool)
        np.testing.assert_array_equal(ours[f"{index}.weight"], theirs)


def test_shares_rank_each_layer_by_itself() -> None:
    scores = _scores(2, "normal", SHAPES)
    shares = {name: max(1, value.size // 3) for name, value in scores.items()}
    ours = _select(scores, BLOCKS["unstructured"], Budget(sum(shares.values()), shares))
    assert ours is not None
    for name, value in scores.items():
        theirs = oracle.select({name: value}, BLOCKS["unstructured"], shares[name])
        assert theirs is not None
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_an_unreachable_budget_tells_the_highest_sparsity_which_can_then_be_reached() -> None:
    scores = {n: torch.from_numpy(v) for n, v in _scores(0, "normal", SHAPES).items()}
    total = sum(value.numel() for value in scores.values())
    with pytest.raises(UnreachableSparsity, match="highest sparsity reachable") as caught:
        select_tiles(BLOCKS["channel"], scores, Budget(3))
    keep = total - round(caught.value.highest * total)
    mask = select_tiles(BLOCKS["channel"], scores, Budget(keep))
    assert min(entry for entry in (keep_.sum().item() for keep_ in mask.values())) > 0
    assert total - round((caught.value.highest + 0.02) * total) < mask.kept


def test_of_layers_with_shares_the_one_that_reaches_least_decides() -> None:
    scores = {"a": torch.ones(1, 10), "b": torch.ones(1, 2), "c": torch.ones(1, 4)}
    with pytest.raises(UnreachableSparsity, match="best block of b") as caught:
        select_tiles(BLOCKS["unstructured"], scores, Budget(1, dict.fromkeys("abc", 0)))
    assert caught.value.highest == 0.5


def test_the_sums_of_blocks_do_not_depend_on_how_a_layer_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ticketkit import tiling

    rng = np.random.default_rng(0)
    scores = {"w": rng.normal(size=(64, 8, 7, 7)).astype(np.float32)}
    masks = []
    for piece in (64, 1000, 2**17):
        monkeypatch.setattr(tiling, "PIECE", piece)
        masks.append([_select(scores, block, Budget(5000)) for block in BLOCKS.values()])
    for other in masks[1:]:
        for one, two in zip(masks[0], other, strict=True):
            _same(one, two)


def test_where_an_earlier_round_has_left_nothing_nothing_is_kept() -> None:
    scores, none = {"a": torch.ones(2, 2)}, Mask({"a": torch.zeros(2, 2, dtype=torch.bool)})
    assert select_tiles(lambda shape: (1, 1), scores, Budget(0), none).kept == 0
