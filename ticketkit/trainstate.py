"""The state of a training on disk, without pickle: tensors in safetensors, the rest in JSON.

What JSON has no word for is an object with one key: {"tuple": [...]}, {"dict": [[key, value]]},
{"float": "inf"}, and {"tensor": name} for a tensor of the other file.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ticketkit.errors import CheckpointError, InputError, OutputError, printable
from ticketkit.locks import write_failure
from ticketkit.tensorfile import DTYPES, TensorFile, head_of, json_object

TENSORS, STATE = "tensors.safetensors", "state.json"
_NAMES = {getattr(torch, name): dtype for dtype, name in DTYPES.items()}
_SCHEMA = 1


class TrainState(NamedTuple):
    """What a training needs in order to go on."""

    model: OrderedDict[str, Any]
    optimizer: dict[str, Any]
    position: Any


def save_state(
    folder: Path, model_state: Mapping[str, Any], optimizer_state: Mapping[str, Any], position: Any
) -> None:
    """Write the state dicts of a model and an optimizer, and where they stand, into a folder.

    `load_state` gives them back: every bit of every tensor and number, tuples as tuples, the
    layout of memory too, as what is computed from tensors may depend on it. An `InputError` names
    what cannot be held: objects that are no numbers, text, tensors, or lists, tuples and dicts of
    them, and tensors that are sparse, quantised or without storage.
    """
    tensors: list[torch.Tensor] = []
    metadata = getattr(model_state, "_metadata", None)  # by which modules know older state
    state = {
        "schema": _SCHEMA,
        "model": _encoded(dict(model_state), "model", tensors),
        "versions": _encoded(metadata and dict(metadata), "model._metadata", tensors),
        "optimizer": _encoded(dict(optimizer_state), "optimizer", tensors),
        "position": _encoded(position, "position", tensors),
    }
    try:
        _write_tensors(folder / TENSORS, tensors)
        with (folder / STATE).open("x", encoding="utf-8") as file:
            json.dump(state, file, allow_nan=False)
    except OSError as error:
        raise OutputError(write_failure(folder, error)) from error


def load_state(folder: Path) -> TrainState:
    """What `save_state` wrote, its tensors on the CPU; a `CheckpointError` where it is damaged."""
    shown = printable(str(folder / STATE))
    try:
        state = json_object(shown, (folder / STATE).read_bytes())
        if state["schema"] != _SCHEMA:
            raise CheckpointError(f"{shown}: expected schema {_SCHEMA}, found {state['schema']!r}")
        file = TensorFile(folder / TENSORS)
        model, versions, optimizer, position = (
            _decoded(state[part], file) for part in ("model", "versions", "optimizer", "position")
        )
        found = OrderedDict(model)
        if versions is not None:
            found._metadata = OrderedDict(versions)  # type: ignore[attr-defined]
        return TrainState(found, dict(optimizer), position)
    except OSError as error:
        where = printable(str(error.filename or folder))
        raise CheckpointError(f"{where}: {error.strerror or error}") from error
    except CheckpointError:
        raise
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = printable(str(error), 200)
        raise CheckpointError(f"{shown}: malformed: {type(error).__name__}: {reason}") from error


def _encoded(value: Any, where: str, tensors: list[torch.Tensor]) -> Any:
    """A value as JSON; the tensors in it are added to the list. `where` it is, for errors."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, torch.Tensor):
        return _reference(value, where, tensors)
    if isinstance(value, dict):
        pairs = [
            [_encoded(key, f"{where}: a key", tensors), _encoded(each, f"{where}.{key}", tensors)]
            for key, each in value.items()
        ]
        return {"dict": pairs}
    if type(value) in (list, tuple):
        items = [_encoded(each, f"{where}.{i}", tensors) for i, each in enumerate(value)]
        return items if type(value) is list else {"tuple": items}
    raise InputError(
        f"{printable(where)}: cannot be saved: expected numbers, text, tensors, or lists, tuples "
        f"and dicts of them, found {printable(repr(value), 80)} ({type(value).__name__})"
    )


def _reference(tensor: torch.Tensor, where: str, tensors: list[torch.Tensor]) -> dict[str, Any]:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    dense = tensor.layout == torch.strided and not tensor.is_meta and tensor.dtype in _NAMES
    if not plain or not dense:
        raise InputError(
            f"{printable(where)}: cannot be saved: expected a dense tensor of a dtype that "
            f"safetensors has, found {type(tensor).__name__}, {tensor.dtype}, {tensor.layout}, "
            f"on {tensor.device}"
        )
    reference: dict[str, Any] = {"tensor": str(len(tensors))}
    if not tensor.is_contiguous():  # such as channels_last: as it lies in memory
        strides = tensor.stride()
        reference["order"] = sorted(range(tensor.dim()), key=lambda axis: -strides[axis])
        tensor = tensor.permute(reference["order"])
    tensors.append(tensor.detach())
    return reference


def _write_tensors(path: Path, tensors: list[torch.Tensor]) -> None:
    entries = {
        str(i): (_NAMES[tensor.dtype], tuple(tensor.shape), tensor.numel() * tensor.itemsize)
        for i, tensor in enumerate(tensors)
    }
    with path.open("xb") as file:
        file.write(head_of(entries, {"format": "pt"}))
        for tensor in tensors:
            flat = tensor.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)


def _decoded(value: Any, file: TensorFile) -> Any:
    if isinstance(value, list):
        return [_decoded(each, file) for each in value]
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items()))
    return _DECODERS[kind](inner, value, file)


def _tensor(name: Any, reference: dict[str, Any], file: TensorFile) -> torch.Tensor:
    tensor = file.tensor(name).clone()  # the file is mapped, and may be removed
    if (order := reference.get("order")) is None:
        return tensor
    return tensor.permute([order.index(axis) for axis in range(len(order))])


_DECODERS: dict[str, Callable[[Any, dict[str, Any], TensorFile], Any]] = {
    "tensor": _tensor,
    "float": lambda text, _, __: float(text),
    "tuple": lambda items, _, file: tuple(_decoded(each, file) for each in items),
    "dict": lambda pairs, _, file: {_decoded(k, file): _decoded(v, file) for k, v in pairs},
}
