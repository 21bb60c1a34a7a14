"""Training state on disk: every bit, tuple and layout comes back, and nothing runs code."""

from __future__ import annotations

import copy
import json
import math
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.samples import bit_flips, check_message, file_size_limit, names, quantised
from ticketkit import CheckpointError, InputError, OutputError
from ticketkit.trainstate import STATE, TENSORS, TrainState, load_state, save_state


def through(folder: Path, value: Any) -> Any:
    """A value, written and read again."""
    made = folder / str(len(names(folder)))
    made.mkdir()
    save_state(made, {}, {"value": value}, None)
    return load_state(made).optimizer["value"]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*bits)


def alike(one: Any, other: Any) -> bool:
    """Whether two structures agree in every type and bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and same(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other) or (one != one and other != other)


# --- a training that is saved and loaded after every step

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "plain sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95), amsgrad=True),
    "adamw, lr as a tensor": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.01)),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "groups": lambda p: torch.optim.SGD(
        [{"params": each, "lr": 0.1 / (i + 1)} for i, each in enumerate(p)], momentum=0.9
    ),
}


def network(dtype: torch.dtype, layout: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Flatten()
    )
    model.append(nn.Linear(4 * 4 * 4, 3))
    return model.to(dtype).to(memory_format=layout)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    weight = next(model.parameters())
    inputs = torch.randn(6, 3, 8, 8, generator=generator).to(weight.dtype)
    optimizer.zero_grad()
    model(inputs).square().mean().backward()
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * 0.9
    optimizer.step()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_saved_and_loaded_after_every_step_ends_in_the_same_bits(
    name: str, dtype: torch.dtype, layout: torch.memory_format, tmp_path: Path
) -> None:
    unbroken = network(dtype, layout)
    its = OPTIMIZERS[name](unbroken.parameters())
    model, optimizer = copy.deepcopy(unbroken), None
    optimizer = OPTIMIZERS[name](model.parameters())
    for number in range(5):
        step(unbroken, its, number)
        step(model, optimizer, number)
        folder = tmp_path / str(number)
        folder.mkdir()
        save_state(folder, model.state_dict(), optimizer.state_dict(), {"step": number})
        state = load_state(folder)
        assert state.position == {"step": number}
        assert alike(state.optimizer, optimizer.state_dict())
        model = network(dtype, layout)
        optimizer = OPTIMIZERS[name](model.parameters())
        model.load_state_dict(state.model)
        optimizer.load_state_dict(state.optimizer)
    assert alike(dict(model.state_dict()), dict(unbroken.state_dict()))
    assert alike(optimizer.state_dict(), its.state_dict())
    strides = [[t.stride() for t in _tensors(o)] for o in (optimizer, its)]
    assert strides[0] == strides[1]


def _tensors(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    state = optimizer.state_dict()["state"].values()
    return [t for each in state for t in each.values() if isinstance(t, torch.Tensor)]


# --- values

LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.floats()
KEYS = st.integers() | st.text(max_size=3) | st.booleans() | st.tuples(st.integers())
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_every_structure_comes_back(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    assert alike(through(tmp_path_factory.mktemp("state"), value), value)


def test_numbers_come_back_to_the_last_bit(tmp_path: Path) -> None:
    numbers = [0.1 + 0.2, 5e-324, -0.0, 1e308, math.inf, -math.inf, 2**200, True, 1, 1.0]
    found = through(tmp_path, numbers)
    assert alike(found, numbers)
    assert math.copysign(1, found[2]) == -1
    assert math.isnan(through(tmp_path, math.nan))


TENSOR = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
KINDS = {
    "of no dimension": torch.tensor(3.5),
    "a whole number": torch.tensor(7),
    "empty": torch.empty(3, 0, 2),
    "bool": TENSOR > 0,
    "bfloat16": TENSOR.bfloat16(),
    "float8": TENSOR.to(torch.float8_e4m3fn),
    "complex": torch.complex(TENSOR, -TENSOR),
    "conjugate": torch.complex(TENSOR, -TENSOR).conj(),
    "negative": torch.complex(TENSOR, -TENSOR).conj().imag,
    "nan with a payload": torch.tensor([0x7FC01234, -0x3FEDCC], dtype=torch.int32).view(
        torch.float32
    ),
    "channels last": TENSOR.to(memory_format=torch.channels_last),
    "transposed": TENSOR.transpose(0, 3),
    "with gaps": TENSOR[:, ::2, :, 1:3],
    "a part": TENSOR[1],
    "expanded": torch.arange(3.0).expand(4, 3),
    "a parameter": nn.Parameter(TENSOR),
    "in a graph": nn.Parameter(TENSOR) * 2,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_dense_tensor_comes_back(kind: str, tmp_path: Path) -> None:
    tensor = KINDS[kind].detach()
    found = through(tmp_path, KINDS[kind])
    assert same(found, tensor.resolve_conj().resolve_neg())
    assert not found.requires_grad
    if kind not in ("with gaps", "expanded", "conjugate", "negative"):
        assert found.stride() == tensor.stride()


def test_what_is_shared_is_written_for_each_and_what_is_loaded_is_its_own(tmp_path: Path) -> None:
    shared = torch.ones(3)
    save_state(tmp_path, {"a": shared, "b": shared[1:]}, {}, None)
    state = load_state(tmp_path)
    state.model["a"].zero_()
    assert state.model["b"].tolist() == [1, 1]
    assert load_state(tmp_path).model["a"].tolist() == [1, 1, 1]


def test_what_is_loaded_outlives_its_file(tmp_path: Path) -> None:
    save_state(tmp_path, {"a": torch.ones(3000)}, {}, None)
    state = load_state(tmp_path)
    os.truncate(tmp_path / TENSORS, 0)  # to read what is mapped there would end the process
    assert state.model["a"].sum() == 3000


def test_the_versions_of_modules_and_names_of_any_kind_come_back(tmp_path: Path) -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    state = model.state_dict()
    state["x" * 600 + "\n/"] = torch.ones(1)
    save_state(tmp_path, state, {}, None)
    found = load_state(tmp_path).model
    assert isinstance(found, OrderedDict)
    assert list(found) == list(state)
    assert found._metadata == state._metadata  # type: ignore[attr-defined]
    assert found._metadata["0"] == {"version": 2}  # type: ignore[attr-defined]


# --- refusals

REFUSED = {
    "sparse": torch.eye(3).to_sparse(),
    "meta": torch.empty(3, device="meta"),
    "quantised": quantised(),
    "an object": nn.Linear(2, 2),
    "a set": {1, 2},
    "bytes": b"x",
    "a function": math.sin,
    "numpy": torch.ones(2).numpy(),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_held_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    optimizer = {"state": {0: {"buffer": [None, REFUSED[kind]]}}, "param_groups": []}
    with pytest.raises(InputError, match=r"^optimizer.state.0.buffer.1: cannot") as caught:
        save_state(tmp_path, {}, optimizer, None)
    check_message(caught.value)
    assert names(tmp_path) == []


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    # fault row 50
    with file_size_limit(1000), pytest.raises(OutputError, match="File too large"):
        save_state(tmp_path, {"a": torch.ones(1000)}, {}, None)


def saved(folder: Path) -> TrainState:
    save_state(folder, {"a": torch.ones(2, 3).t()}, {"lr": (0.1, math.inf)}, [1])
    return load_state(folder)


def damaged(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_state(folder)
    check_message(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", [STATE, TENSORS])
def test_a_lost_or_empty_file_is_told(name: str, tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / name).write_bytes(b"")
    assert name in damaged(tmp_path)
    (tmp_path / name).unlink()
    assert name in damaged(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        {"schema": 2},
        {"model": {}},
        {"model": {"dict": [[1]]}},
        {"model": {"dict": 3}},
        {"model": {"pickle": "x"}},
        {"model": [1, 2]},
        {"optimizer": 3},
        {"position": {"tensor": "99"}},
        {"position": {"tensor": 0}},
        {"position": {"tensor": "0", "order": [0, 0]}},
        {"position": {"tensor": "0", "order": "10"}},
        {"position": {"float": "much"}},
        {"position": {"float": []}},
        {"position": {"dict": [[[], 1]]}},
        {"versions": 7},
    ],
)
def test_a_malformed_state_is_told(edit: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path)
    state = json.loads((tmp_path / STATE).read_text())
    (tmp_path / STATE).write_text(json.dumps({**state, **edit}))
    assert STATE in damaged(tmp_path)


def test_no_flipped_bit_is_more_than_an_error(tmp_path: Path) -> None:
    saved(tmp_path)
    for flipped in bit_flips((tmp_path / STATE).read_bytes()):
        (tmp_path / STATE).write_bytes(flipped)
        try:
            load_state(tmp_path)
        except CheckpointError as error:
            check_message(error)
