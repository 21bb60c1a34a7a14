"""The mask as a value, and as what it does to weights."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn
from torch.nn.utils import prune

from tests.samples import little_memory
from ticketkit import InputError, Layer, Mask, MismatchError
from ticketkit.bits import BlockBits, pack

Keeps = dict[str, np.ndarray[Any, np.dtype[np.bool_]]]
LAW = settings(deadline=None, max_examples=50)
NAN, INF = float("nan"), float("inf")
SHAPES = st.dictionaries(
    st.text(max_size=3), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0), max_size=3
)
WEIGHT = torch.tensor([[NAN, -0.0, -1.0], [INF, NAN, 2.0]])
KEEP = torch.tensor([[False, False, False], [False, True, True]])


@st.composite
def keeps(draw: st.DrawFn, count: int = 1) -> list[Keeps]:
    """Several sets of booleans over the same names and shapes."""
    shapes = draw(SHAPES)
    drawn = [{n: arrays.arrays(np.bool_, s) for n, s in shapes.items()} for _ in range(count)]
    return [{name: draw(array) for name, array in each.items()} for each in drawn]


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def _mask_of(model: nn.Module) -> Mask:
    generator = torch.Generator().manual_seed(0)
    weights = {name: p for name, p in model.named_parameters() if p.dim() > 1}
    return Mask({n: torch.rand(p.shape, generator=generator) < 0.5 for n, p in weights.items()})


def _copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _doubly_wrapped(model: nn.Module) -> Any:
    inner: Any = torch.compile(model)
    return torch.compile(nn.DataParallel(inner))


def _applied(weight: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    Mask({"weight": keep}).apply_({"weight": weight})
    return weight


# Building


@LAW
@given(keeps())
def test_a_mask_gives_back_what_it_was_built_from(given: list[Keeps]) -> None:
    (keep,) = given
    mask = Mask(keep)
    assert list(mask) == sorted(keep)
    assert mask.shapes == {name: array.shape for name, array in keep.items()}
    assert all(mask[name].dtype == torch.bool for name in mask)
    assert all(np.array_equal(mask[name].numpy(), array) for name, array in keep.items())


@pytest.mark.parametrize(
    "keep",
    [
        KEEP,
        KEEP.int(),
        KEEP.double(),
        KEEP.half(),
        KEEP.bfloat16(),
        KEEP.to(torch.float8_e4m3fn),
        KEEP.t().contiguous().t(),
        nn.Parameter(KEEP.float()),
        KEEP.numpy(),
        KEEP.numpy().astype(np.uint8),
        KEEP.tolist(),
    ],
    ids=lambda keep: f"{type(keep).__name__} {getattr(keep, 'dtype', '')}",
)
def test_a_mask_is_built_from_booleans_or_from_0_and_1(keep: Any) -> None:
    assert torch.equal(Mask({"w": keep})["w"], KEEP)


@pytest.mark.parametrize(
    "keep",
    [
        torch.tensor([0, 2]),
        torch.tensor([0.0, 0.5]),
        torch.tensor([0.0, 0.5]).bfloat16(),
        torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64),
        torch.tensor([0.0, NAN]),
        torch.tensor([0, -1]),
        torch.tensor([0, 1j]),
        np.array(["0", "1"]),
        np.array([None, True]),
    ],
    ids=lambda keep: str(keep.dtype),
)
def test_other_values_than_0_and_1_are_refused(keep: Any) -> None:
    with pytest.raises(InputError, match=r"fc\.weight: a mask is bool or 0 and 1"):
        Mask({"fc.weight": keep})


def test_control_characters_in_a_name_are_escaped_in_its_refusal() -> None:
    with pytest.raises(InputError, match=r"^fc\\x1b\[31m: a mask"):
        Mask({"fc\x1b[31m": [2]})


def test_names_are_in_code_point_order() -> None:
    names = ["é", "a.10", "b", "a.2", "B"]
    assert list(Mask({name: [True] for name in names})) == ["B", "a.10", "a.2", "b", "é"]


def test_an_unknown_name_is_a_key_error_that_names_the_near_one() -> None:
    with pytest.raises(KeyError, match=r"did you mean 'fc\.weight'"):
        Mask({"fc.weight": [True]})["fc.wieght"]


# Immutability and identity


def test_a_mask_does_not_follow_what_it_was_built_from() -> None:
    keep = KEEP.clone()
    mask = Mask({"w": keep})
    keep.fill_(True)
    assert torch.equal(mask["w"], KEEP)


def test_writing_to_what_a_mask_gives_leaves_the_mask_alone() -> None:
    mask = Mask({"w": KEEP})
    mask["w"].fill_(True)
    assert torch.equal(mask["w"], KEEP)


def test_a_mask_has_no_items_to_set_or_delete() -> None:
    mask: Any = Mask({"w": KEEP})
    with pytest.raises(TypeError, match="item assignment"):
        mask["w"] = KEEP
    with pytest.raises(TypeError, match="item deletion"):
        del mask["w"]
    with pytest.raises(ValueError, match="read-only"):
        mask.packed("w").bits[0] = 255


@LAW
@given(keeps(2))
def test_masks_are_equal_where_all_their_bits_are(given: list[Keeps]) -> None:
    a, b = given
    same = all(np.array_equal(a[name], b[name]) for name in a)
    assert (Mask(a) == Mask(b)) is same
    assert not same or hash(Mask(a)) == hash(Mask(b))


def test_a_mask_of_blocks_equals_the_same_mask_of_weights() -> None:
    rows = torch.tensor([[True] * 3, [False] * 3])
    blocks = BlockBits(Layer("w", (2, 3)), (1, 3), pack(np.array([True, False])))
    assert Mask({"w": blocks}) == Mask({"w": rows})
    assert hash(Mask({"w": blocks})) == hash(Mask({"w": rows}))


@pytest.mark.parametrize(
    "other",
    [Mask({"v": KEEP}), Mask({"w": KEEP.reshape(3, 2)}), Mask({}), {"w": KEEP}, None],
    ids=["name", "shape", "empty", "dict", "None"],
)
def test_a_mask_of_another_name_shape_or_type_is_not_equal(other: object) -> None:
    assert Mask({"w": KEEP}) != other


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda mask: pickle.loads(pickle.dumps(mask))])
def test_a_copied_or_pickled_mask_is_the_same_mask(twin: Callable[[Mask], Mask]) -> None:
    mask = _mask_of(_network())
    assert twin(mask) == mask
    assert mask in {twin(mask)}


def test_a_mask_says_how_large_and_how_sparse_it_is() -> None:
    assert repr(Mask({"w": KEEP})) == "Mask(1 parameters, 6 weights, sparsity 0.666667)"


# Counting and combining


@LAW
@given(keeps())
def test_sparsity_is_the_fraction_removed(given: list[Keeps]) -> None:
    (keep,) = given
    mask = Mask(keep)
    size, kept = sum(a.size for a in keep.values()), sum(int(a.sum()) for a in keep.values())
    assert (mask.size, mask.kept) == (size, kept)
    assert mask.sparsity == pytest.approx((size - kept) / size if size else 0)
    removed = {name: (~array).mean() if array.size else 0 for name, array in keep.items()}
    assert mask.layer_sparsity() == pytest.approx(removed)


@LAW
@given(keeps(2))
def test_and_keeps_what_both_keep_and_or_what_either_keeps(given: list[Keeps]) -> None:
    a, b = given
    assert Mask(a) & Mask(b) == Mask({name: a[name] & b[name] for name in a})
    assert Mask(a) | Mask(b) == Mask({name: a[name] | b[name] for name in a})


@LAW
@given(keeps(2))
def test_overlap_is_the_intersection_over_the_union(given: list[Keeps]) -> None:
    a, b = given
    flat = [np.concatenate([[], *(each[n].reshape(-1) for n in a)]).astype(bool) for each in given]
    union = (flat[0] | flat[1]).sum()
    expected = (flat[0] & flat[1]).sum() / union if union else 1
    assert Mask(a).overlap(Mask(b)) == Mask(b).overlap(Mask(a)) == expected
    assert Mask(a).overlap(Mask(a)) == 1


@LAW
@given(keeps(2))
def test_the_overlap_of_a_layer_is_that_of_a_mask_of_it_alone(given: list[Keeps]) -> None:
    a, b = Mask(given[0]), Mask(given[1])
    alone = {n: Mask({n: given[0][n]}).overlap(Mask({n: given[1][n]})) for n in a}
    assert a.layer_overlap(b) == b.layer_overlap(a) == alone
    assert a.kept_by_both(b) == {n: int((given[0][n] & given[1][n]).sum()) for n in a}


def test_comparing_large_masks_takes_the_memory_of_one_layer() -> None:
    names = [f"layer{index}" for index in range(16)]
    block = BlockBits(Layer("w", (2**10, 2**10)), (1, 2**10), pack(np.arange(2**10) % 2 == 0))
    one, other = Mask(dict.fromkeys(names, block)), Mask(dict.fromkeys(names, block))
    with little_memory(2**20):  # of 2 MiB in each mask
        assert one.overlap(other) == 1
        assert set(one.layer_overlap(other).values()) == {1}


def test_blocks_and_weights_combine() -> None:
    blocks = BlockBits(Layer("w", (2, 3)), (1, 3), pack(np.array([False, True])))
    assert Mask({"w": blocks}) & Mask({"w": KEEP}) == Mask({"w": KEEP})
    assert (Mask({"w": blocks}) | Mask({"w": KEEP})).kept == 3


@pytest.mark.parametrize("other", [Mask({"v": KEEP}), Mask({"w": KEEP.t()}), Mask({})])
def test_masks_of_different_parameters_do_not_combine(other: Mask) -> None:
    for combine in (Mask.__and__, Mask.__or__, Mask.overlap, Mask.layer_overlap):
        with pytest.raises(MismatchError, match=r"different parameters: .*w"):
            combine(Mask({"w": KEEP}), other)


def test_a_backbone_mask_is_renamed_into_a_larger_network() -> None:
    mask, backbone = _mask_of(_network()), _network()
    larger = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(5, 2)})
    mask.rename("backbone.").apply_(larger)
    assert mask.rename("backbone.").rename("") == mask.rename("backbone.")
    assert torch.equal(backbone.get_parameter("0.weight") != 0, mask["0.weight"])


# Applying


def test_removed_weights_become_positive_zero_whatever_stood_there() -> None:
    weight = _applied(WEIGHT.clone(), KEEP)
    assert torch.equal(weight.view(torch.int32)[~KEEP], torch.zeros(4, dtype=torch.int32))
    assert torch.equal(weight.view(torch.int32)[KEEP], WEIGHT.view(torch.int32)[KEEP])


def test_a_mask_prunes_as_torch_does() -> None:
    ours, theirs = nn.Linear(7, 5), nn.Linear(7, 5)
    theirs.load_state_dict(ours.state_dict())
    keep = torch.rand(5, 7) < 0.5
    Mask({"weight": keep}).apply_(ours)
    prune.custom_from_mask(theirs, "weight", keep)  # type: ignore[no-untyped-call]
    prune.remove(theirs, "weight")  # type: ignore[no-untyped-call]
    assert torch.equal(ours.weight, theirs.weight)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.float8_e5m2,
        torch.float8_e4m3fn,
        torch.complex64,
        torch.complex128,
    ],
    ids=str,
)
def test_parameters_of_every_precision_are_masked(dtype: torch.dtype) -> None:
    model = nn.Module()
    model.weight = nn.Parameter(torch.tensor([-1.0, 2.0, -3.0]).to(dtype))
    Mask({"weight": [False, True, False]}).apply_(model)
    assert torch.equal(model.weight.to(torch.complex128).real, torch.tensor([0.0, 2, 0]).double())
    assert not model.weight.detach()[:1].view(torch.uint8).any()
    assert model.weight.dtype == dtype


@pytest.mark.parametrize("shape", [(0,), (2, 0, 3), (1,), (), (1, 1, 1, 1)], ids=str)
def test_tensors_of_no_or_one_element_are_masked(shape: tuple[int, ...]) -> None:
    weight = _applied(torch.full(shape, -1.0), torch.zeros(shape, dtype=torch.bool))
    assert weight.shape == shape
    assert not weight.any()
    assert not weight.signbit().any()


@pytest.mark.parametrize(
    "weight",
    [
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(5, 4, 3, 2).permute(3, 2, 1, 0),
        torch.randn(2, 3, 4, 10)[..., ::2],
        torch.randn(9, 3, 4, 5)[3:5],
    ],
    ids=["channels last", "permuted", "strided", "sliced"],
)
def test_a_tensor_keeps_its_layout_in_memory(weight: torch.Tensor) -> None:
    keep, before = torch.rand(2, 3, 4, 5) < 0.5, weight.clone()
    stride, address = weight.stride(), weight.data_ptr()
    _applied(weight, keep)
    assert (weight.stride(), weight.data_ptr()) == (stride, address)
    assert torch.equal(weight, before.masked_fill(~keep, 0))


def test_other_parameters_and_buffers_are_left_alone() -> None:
    model = _network()
    before, mask = _copied(model), _mask_of(model)
    mask.apply_(model)
    others = [name for name in before if name not in mask]
    assert others
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in others)


def test_a_state_dict_is_masked_as_its_network_is() -> None:
    model = _network()
    state, mask = _copied(model), _mask_of(model)
    mask.apply_(state)
    mask.apply_(model)
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())


def test_a_frozen_network_is_masked_and_stays_frozen() -> None:
    model = _network().requires_grad_(False)
    mask = _mask_of(model)
    mask.apply_(model)
    assert all(torch.equal(p != 0, mask[n]) for n, p in model.named_parameters() if n in mask)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", ["0.weight", "1.weight"])
def test_tied_parameters_are_masked_under_either_name(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    keep = torch.eye(3, dtype=torch.bool)
    Mask({name: keep}).apply_(model)
    assert torch.equal(model.get_parameter(name) != 0, keep)
    assert model[0].weight is model[1].weight


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(nn.DataParallel, id="DataParallel"),
        pytest.param(torch.compile, id="compile", marks=pytest.mark.slow),
        pytest.param(_doubly_wrapped, id="both", marks=pytest.mark.slow),
    ],
)
def test_wrappers_that_only_add_a_prefix_are_seen_through(wrap: Callable[[Any], Any]) -> None:
    model = _network()
    mask = _mask_of(model)
    mask.apply_(wrap(model))
    assert all(torch.equal(p != 0, mask[n]) for n, p in model.named_parameters() if n in mask)


# What does not fit


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("3.weight", (16, 5), r"3.weight: \[16, 5\] in the mask, \[5, 16\] found"),
        ("3.wieght", (5, 16), r"3.wieght \(not found; did you mean '3.weight'\?\)"),
        ("3", (5, 16), r"3 \(not found"),
        ("1.running_mean", (4,), r"1.running_mean \(not found"),
        ("3.weight", (80,), r"3.weight: \[80\] in the mask"),
    ],
)
def test_a_mask_that_does_not_fit_says_so_and_changes_nothing(
    name: str, shape: tuple[int, ...], message: str
) -> None:
    model = _network()
    before = _copied(model)
    mask = Mask({"0.weight": torch.zeros(4, 3, 3, 3), name: torch.zeros(shape)})
    with pytest.raises(MismatchError, match=message):
        mask.apply_(model)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


@pytest.mark.parametrize(("count", "ending"), [(5, "layer4"), (6, "and 1 more"), (9, "4 more")])
def test_five_differences_are_named_and_the_rest_counted(count: int, ending: str) -> None:
    mask = Mask({f"layer{i}": [True] for i in range(count)})
    with pytest.raises(MismatchError, match=f"{count} are missing") as raised:
        mask.apply_({})
    assert str(raised.value).count("not found") == 5
    assert ending in str(raised.value)


def test_wrong_shapes_and_missing_names_are_counted_apart() -> None:
    mask = Mask({"a": [True], "b": [True], "c": [True]})
    found = {"b": (1,), "c": (2,)}
    with pytest.raises(MismatchError, match=r"1 are missing and 1 have another shape: c: .*, a "):
        mask.check_fits(found)


def test_a_mask_of_nothing_fits_everything() -> None:
    model = _network()
    before, nothing = _copied(model), Mask({})
    nothing.apply_(model)
    assert (nothing.sparsity, len(nothing), nothing.overlap(nothing)) == (0, 0, 1)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
