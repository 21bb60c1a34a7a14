"""Surviving values: bit by bit what they were, whatever their dtype and wherever they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.samples import FORMS, quantised, save, state
from ticketkit import (
    InputError,
    Layer,
    Mask,
    MismatchError,
    Ticket,
    UsageError,
    WeightsError,
    draw,
    load_ticket,
    open_checkpoint,
)
from ticketkit.bits import BlockBits, pack
from ticketkit.prunable import Counts
from ticketkit.surviving import Values
from ticketkit.tensorfile import DTYPES
from ticketkit.ticket import Provenance

PROVENANCE = Provenance("unstructured", "magnitude", "global", "omp", 0.5, 0)
KNOWN = {key: getattr(torch, name) for key, name in DTYPES.items() if hasattr(torch, name)}


def ticket(mask: Mask, **options: Any) -> Ticket:
    return Ticket(mask, PROVENANCE, Counts(mask.size, mask.size, mask.size), **options)


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def of_any_bits(dtype: torch.dtype, count: int) -> torch.Tensor:
    """Numbers of random bits: NaN with payloads, infinities, -0.0 and subnormals among them."""
    size = torch.empty(0, dtype=dtype).element_size()
    bits = np.random.default_rng(0).integers(0, 256, count * size).astype(np.uint8)
    if dtype == torch.bool:
        bits &= 1
    bits[:size] = 0
    bits[size - 1] = 0 if dtype == torch.bool else 128  # -0.0
    return torch.from_numpy(bits).view(dtype)


@pytest.mark.parametrize("name", KNOWN)
def test_values_of_every_dtype_come_back_bit_by_bit(name: str, tmp_path: Path) -> None:
    weights = of_any_bits(KNOWN[name], 60).reshape(3, 4, 5)
    keep = np.random.default_rng(1).random((3, 4, 5)) < 0.4
    keep[0, 0, 0] = True
    made = ticket(Mask({"w": keep})).with_values({"w": weights})
    made.save(tmp_path / "t.safetensors", encoding="rice")
    found = load_ticket(tmp_path / "t.safetensors")
    assert found == made
    assert found.values["w"].dtype == name
    numbers = [raw(weights.reshape(-1)[i : i + 1]) for i in range(60)]
    kept = [bits for bits, stays in zip(numbers, keep.reshape(-1), strict=True) if stays]
    assert found.values["w"].raw == b"".join(kept)
    whole = found.state_dict()["w"]
    assert (whole.dtype, whole.shape) == (weights.dtype, weights.shape)
    zero = bytes(len(numbers[0]))
    expected = [b if k else zero for b, k in zip(numbers, keep.reshape(-1), strict=True)]
    assert raw(whole) == b"".join(expected)


def test_plane_b_holds_byte_b_of_every_value() -> None:
    weights = torch.tensor([1.0, 2.0, -3.5])
    values = ticket(Mask({"w": [True, False, True]})).with_values({"w": weights}).values["w"]
    expected = [list(np.float32(x).tobytes()) for x in (1.0, -3.5)]
    assert values.planes.T.tolist() == expected
    assert (values.count, values.nbytes, repr(values)) == (2, 8, "Values(2 of F32)")


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_of_any_form_gives_the_same_values(form: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save(state(), tmp_path, form))
    made = draw(checkpoint, scheme="row", sparsity=0.5)
    assert made.with_values(checkpoint) == made.with_values(state())
    for name, tensor in made.with_values(checkpoint).state_dict().items():
        assert tensor.equal(state()[name] * made.mask[name])


def test_a_network_gives_its_own_whatever_its_memory_order() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 4)).to(memory_format=torch.channels_last)
    made = draw(model, scheme="unstructured", sparsity=0.5).with_values(model)
    for name, tensor in made.state_dict().items():
        assert tensor.equal(model.get_parameter(name) * made.mask[name])


def test_transposed_layers_in_blocks_keep_their_own_order(tmp_path: Path) -> None:
    layer = Layer.of("up", (4, 3, 2), transposed=2)
    keep = BlockBits(layer, (1, 2, 2), pack(np.array([1, 0, 0, 1, 1, 0], np.bool_)))
    weights = torch.arange(24.0).reshape(4, 3, 2) + 1
    made = ticket(Mask({"up": keep})).with_values({"up": weights})
    made.save(tmp_path / "t.safetensors")
    found = load_ticket(tmp_path / "t.safetensors")
    assert found.state_dict()["up"].equal(weights * torch.from_numpy(keep.unpack()))
    assert np.frombuffer(found.values["up"].raw, np.float32).tolist() == (
        weights[torch.from_numpy(keep.unpack())].tolist()
    )


def test_tied_names_have_one_tensor() -> None:
    made = ticket(Mask({"a": [True, False]}), aliases={"a": ("b", "c")})
    weights = {"a": torch.tensor([2.0, 3.0]), "b": torch.zeros(2)}
    found = made.with_values(weights).state_dict()
    assert list(found) == ["a", "b", "c"]
    assert found["a"] is found["b"] is found["c"]
    assert found["a"].tolist() == [2.0, 0.0]


def test_layers_without_weights_and_scalars_have_values_too(tmp_path: Path) -> None:
    weights = {"none": torch.empty(3, 0), "one": torch.tensor(2.0), "dead": torch.ones(9)}
    mask = Mask({"none": np.ones((3, 0), np.bool_), "one": np.True_, "dead": np.zeros(9, np.bool_)})
    for encoding in ("packed", "rice"):
        made = ticket(mask).with_values(weights)
        made.save(tmp_path / "t.safetensors", encoding)
        found = load_ticket(tmp_path / "t.safetensors")
        assert found == made
        assert [list(t.shape) for t in found.state_dict().values()] == [[9], [3, 0], []]
        assert found.state_dict()["one"].item() == 2.0


def test_equality_includes_the_values() -> None:
    mask = Mask({"a": [True, False]})
    one = ticket(mask).with_values({"a": torch.tensor([1.0, 5.0])})
    assert one == ticket(mask).with_values({"a": torch.tensor([1.0, 6.0])})
    assert hash(one) == hash(ticket(mask).with_values({"a": torch.tensor([1.0, 6.0])}))
    others = [torch.tensor([2.0, 5.0]), torch.tensor([1.0, 5.0], dtype=torch.float64)]
    assert all(one != ticket(mask).with_values({"a": other}) for other in others)
    assert one != ticket(mask)
    assert len({one.values["a"], one.values["a"]}) == 1
    assert one.values["a"] != "values"


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from(["F32", "BF16", "F64", "F8_E5M2"]))
def test_what_survives_and_zeros_make_the_whole(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(0, 40))
    keep = rng.random(size) < 0.5
    tensor = of_any_bits(KNOWN[dtype], max(1, size))[:size]
    bits = np.frombuffer(raw(tensor), np.uint8)
    values = Values.of(dtype, bits, keep)
    width = len(bits) // max(1, size)
    expected = bits.reshape(size, -1) * keep[:, None] if size else bits
    assert values.among_zeros(keep).tobytes() == expected.tobytes()
    assert values.nbytes == keep.sum() * (width or values.planes.shape[0])


# --- what does not fit


def test_other_names_and_shapes_are_refused(tmp_path: Path) -> None:
    made = ticket(Mask({"a.weight": [True, False]}))
    with pytest.raises(MismatchError, match=r"a.weight .not found; did you mean 'b.weight'"):
        made.with_values({"b.weight": torch.ones(2)})
    with pytest.raises(MismatchError, match=r"a.weight: \[2\] in the mask, \[3\] found"):
        made.with_values({"a.weight": torch.ones(3)})
    checkpoint = open_checkpoint(save({"a.weight": torch.ones(3)}, tmp_path, "zip"))
    with pytest.raises(MismatchError, match=r"\[2\] in the mask, \[3\] found"):
        made.with_values(checkpoint)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.ones(2, 2, device="meta"), "w: a meta tensor has no plain values to read"),
        (quantised(), "w: a quantised tensor has no plain values to read"),
        (torch.ones(2, 2).to_sparse(), "w: a sparse tensor has no plain values to read"),
    ],
    ids=["meta", "quantised", "sparse"],
)
def test_tensors_without_plain_values_are_refused(tensor: torch.Tensor, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        ticket(Mask({"w": np.ones((2, 2), np.bool_)})).with_values({"w": tensor})


def test_a_ticket_without_values_has_no_state_dict() -> None:
    with pytest.raises(UsageError, match="the ticket holds no values"):
        ticket(Mask({"a": [True]})).state_dict()


def test_values_that_do_not_belong_to_the_mask_are_refused() -> None:
    values = {"a": Values("F32", np.zeros((4, 1), np.uint8))}
    ticket(Mask({"a": [True, False]}), values=values)
    with pytest.raises(InputError, match="of every masked parameter, found others: b"):
        ticket(Mask({"a": [True], "b": [True]}), values=values)
    with pytest.raises(InputError, match="a: 2 weights kept by its bits, 1 values"):
        ticket(Mask({"a": [True, True]}), values=values)
    with pytest.raises(InputError, match=r"expected 4 planes of bytes for F32, found \[2, 3\]"):
        Values("F32", np.zeros((2, 3), np.uint8))
    with pytest.raises(InputError, match="values of dtype F4 are not supported"):
        Values("F4", np.zeros((2, 3), np.uint8))


def test_values_cannot_be_written() -> None:
    values = Values("F32", np.zeros((4, 1), np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        values.planes[0, 0] = 1


def test_the_state_dict_loads_into_the_network_that_it_came_from() -> None:
    model, other = nn.Linear(4, 4), nn.Linear(4, 4)
    made = draw(model, scheme="unstructured", sparsity=0.5, include="*weight").with_values(model)
    missing, unexpected = other.load_state_dict(made.state_dict(), strict=False)
    assert (missing, unexpected) == (["bias"], [])
    assert other.weight.equal(model.weight * made.mask["weight"])
