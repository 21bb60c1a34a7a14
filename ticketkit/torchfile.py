"""Checkpoints that torch.save wrote: plain or wrapped, zip or legacy."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch

from ticketkit.checkpoint import Checkpoint
from ticketkit.errors import CheckpointError, UsageError, WeightsError, near, printable, some
from ticketkit.files import Output
from ticketkit.loading import check_storages, is_plain, load
from ticketkit.mask import Mask
from ticketkit.progress import stage
from ticketkit.tensorfile import DTYPES, check_names
from ticketkit.zeroing import layout, zero_

if TYPE_CHECKING:
    from ticketkit.surviving import Values

# Where other tools put the weights, in the order in which they are looked for.
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
_NAMES = {getattr(torch, name): key for key, name in DTYPES.items() if hasattr(torch, name)}
_UNSIGNED = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}


class TorchCheckpoint(Checkpoint):
    """A file of torch.save, and the state dict in it."""

    def __init__(self, path: Path, form: str, key: str | None, also: tuple[str, ...] = ()) -> None:
        self._whole = load(path, form)
        entry = _wrapper(path, self._whole, key, also)
        state = self._whole if entry is None else self._whole[entry]
        self._state: Mapping[str, Any] = state
        self._tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
        check_names(path, self._tensors)
        check_storages(path, form, self._tensors)
        shapes = {key: tuple(tensor.shape) for key, tensor in self._tensors.items()}
        super().__init__(path, form, shapes, {k: dtype_name(t) for k, t in self._tensors.items()})
        self.key = entry
        if entry is not None:
            self.others = [k for k in _states(self._whole) if k != entry]

    @cached_property
    def size(self) -> int:
        return self.path.stat().st_size

    def at(self, key: str) -> torch.Tensor:
        return self._tensors[key]

    @cached_property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        groups: dict[object, list[str]] = {}
        for name in self:
            groups.setdefault(_identity(name, self[name]), []).append(name)
        return {names[0]: tuple(names[1:]) for names in map(sorted, groups.values()) if names[1:]}

    def raw_at(self, key: str) -> np.ndarray[Any, np.dtype[Any]]:
        return raw_of_plain(key, self._tensors[key])

    def write(
        self, output: Output, mask: Mask, values: Mapping[str, Values] = MappingProxyType({})
    ) -> list[str]:
        from ticketkit.surviving import tensor_of

        pruned: dict[str, torch.Tensor] = {}
        copies: dict[object, torch.Tensor] = {}
        for name in mask:
            for key in self.naming.keys[name]:
                tensor = self._tensors[key]
                shared = _identity(key, tensor)
                if shared not in copies:
                    copies[shared] = _pruned(tensor, mask[name])
                    if name in values:
                        whole = tensor_of(values[name], mask.packed(name))
                        copies[shared].detach().copy_(whole)
                pruned[key] = copies[shared]
        if output.path.suffix == ".safetensors":
            return self._convert(output, {**self._tensors, **pruned})
        state = _with(self._state, pruned)
        whole = state if self.key is None else _with(self._whole, {self.key: state})
        with stage("writing", self.size), output.writing(self.size) as file:
            _save(whole, file, zipped=self.form == "zip")
        return []

    def _convert(self, output: Output, tensors: dict[str, torch.Tensor]) -> list[str]:
        from safetensors.torch import save

        copies = {key for keys in self.naming.keys.values() for key in keys[1:]}
        tensors = {key: tensor for key, tensor in tensors.items() if key not in copies}
        if odd := [n for n, t in tensors.items() if not fits_safetensors(n, t)]:
            raise CheckpointError(
                f"{printable(str(self.path))}: safetensors cannot hold {some(odd)}; keep the form "
                "of the file, with an output that does not end in .safetensors"
            )
        data = save(
            {n: t.detach().clone().contiguous() for n, t in tensors.items()}, {"format": "pt"}
        )
        with output.writing(len(data)) as file:
            file.write(data)
        left = [str(name) for name in self._state if name not in tensors]
        return left + [str(k) for k in self._whole if self.key is not None and k != self.key]


def raw_of_plain(name: str, tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    """`raw_of`, of a tensor that has plain values; a `WeightsError` that names it otherwise."""
    if not is_plain(tensor):
        kind = "meta" if tensor.is_meta else "quantised" if tensor.is_quantized else "sparse"
        raise WeightsError(
            f"{printable(name)}: a {kind} tensor has no plain values to read; expected dense "
            "tensors with their weights loaded"
        )
    return raw_of(tensor)


def raw_of(tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    """A tensor's bits as unsigned integers, in its shape and in C order.

    Complex numbers have a last axis of two.
    """
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    plain = (torch.view_as_real(plain) if plain.is_complex() else plain).contiguous()
    return np.asarray(plain.view(_UNSIGNED[plain.element_size()]).numpy())


def dtype_name(tensor: torch.Tensor) -> str:
    """The dtype as safetensors names it."""
    return _NAMES.get(tensor.dtype, str(tensor.dtype))


def _wrapper(path: Path, whole: Any, key: str | None, also: tuple[str, ...]) -> str | None:
    """The entry of `whole` that holds the weights; None where `whole` is the state dict."""
    shown = printable(str(path))
    if not isinstance(whole, Mapping):
        kind = type(whole).__name__
        raise CheckpointError(f"{shown}: holds a {kind}, where a mapping of names was expected")
    states = _states(whole)
    if key is not None:
        if key in states:
            return key
        listed = (
            f"its entries with weights: {some(states, 12)}"
            if states
            else "it is a plain state dict"
        )
        raise UsageError(
            f"{shown}: no weights under {printable(key)!r}; {listed}{near(key, states)}"
        )
    for name in (*_WRAPPERS, *also):
        if name in states:
            return name
    if _is_state(whole):
        return None
    if states:
        raise CheckpointError(f"{shown}: choose an entry with --checkpoint-key: {some(states, 12)}")
    entries = some((repr(name) for name in whole), 8) or "none"
    raise CheckpointError(f"{shown}: no weights in it, nor in one of its entries: {entries}")


def _states(whole: Mapping[Any, Any]) -> list[str]:
    """The entries of a wrapped file that hold weights."""
    return [k for k, v in whole.items() if isinstance(k, str) and _is_state(v)]


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, torch.Tensor) for v in value.values())


def fits_safetensors(name: str, tensor: torch.Tensor) -> bool:
    """Whether safetensors can hold a tensor under this name."""
    plain = is_plain(tensor) and tensor.dtype in _NAMES
    return plain and tensor.dtype != torch.complex128 and name != "__metadata__"


def _identity(name: str, tensor: torch.Tensor) -> object:
    if not is_plain(tensor) or not tensor.numel():
        return name
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _pruned(tensor: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        pruned = tensor.detach().clone(memory_format=torch.preserve_format)
        zero_(pruned, layout(keep, pruned))
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(pruned, tensor.requires_grad)
    return pruned.requires_grad_(tensor.requires_grad)


def _with(mapping: Mapping[str, Any], changed: Mapping[str, Any]) -> Any:
    """A copy of a mapping of the same type, attributes and order, with some values changed."""
    copied: Any = copy.copy(mapping)
    for name, value in changed.items():
        copied[name] = value
    return copied


def _save(whole: Any, file: IO[bytes], *, zipped: bool) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(whole, file, _use_new_zipfile_serialization=zipped)
    except RuntimeError as error:
        # How torch tells that it could not write all, whether a full disk or Ctrl-C was the cause.
        cause = error.__context__
        while cause and not isinstance(cause, OSError | KeyboardInterrupt | SystemExit):
            cause = cause.__context__
        raise cause or OSError(str(error).partition("\n")[0]) from None
