"""A checkpoint: a lazy mapping of names to tensors, over a file of any of the forms people have."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ticketkit.archive import form_of
from ticketkit.computed import computed_from
from ticketkit.errors import CheckpointError, UsageError, printable
from ticketkit.prunable import Tensor, by_name, is_buffer
from ticketkit.tensorfile import TICKET, TensorFile

if TYPE_CHECKING:
    import torch

    from ticketkit.files import Output
    from ticketkit.mask import Mask

_FORMS = {
    "safetensors": "safetensors",
    "zip": "PyTorch (zip)",
    "legacy": "PyTorch (legacy)",
}
_FLOATING = ("F", "BF", "C")


class Checkpoint(Mapping[str, "torch.Tensor"]):
    """The tensors of a checkpoint by name, in the file's order; each is read when asked for."""

    def __init__(self, path: Path, form: str) -> None:
        self.path = path
        self.form = form
        self.size = path.stat().st_size
        self.key: str | None = None
        """The entry of a wrapped file that holds these tensors; None for a plain file."""
        self.others: list[str] = []
        """Entries of a wrapped file that hold weights too."""

    @property
    def description(self) -> str:
        """The form in words: `"PyTorch (zip), entry 'state_dict'"`."""
        return _FORMS[self.form] + (f", entry {self.key!r}" if self.key else "")

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""

    @property
    @abstractmethod
    def dtypes(self) -> dict[str, str]:
        """The dtype of each tensor, as safetensors names it: `"F32"`."""

    @abstractmethod
    def raw(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        """A tensor's bits as unsigned integers, in its shape and in C order.

        Complex numbers have a last axis of two.
        """

    @abstractmethod
    def write(self, output: Output, mask: Mask) -> list[str]:
        """Write this checkpoint with the removed weights +0.0, the rest bit-equal and in order.

        The form stays, but for a `.pt` file whose output is named `.safetensors`: that is
        converted. Returns the names of what a conversion left behind.
        """

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Names that share one tensor: the first of them, and the others."""
        return {}

    def __contains__(self, name: object) -> bool:
        return name in self.shapes  # which reads no tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def tensors(self) -> list[Tensor]:
        """What names and shapes tell about each parameter, for a survey; tied tensors once."""
        repeated = {other for others in self.aliases.values() for other in others}
        calls = computed_from(self)
        return [
            self._tensor(name, shape, calls)
            for name, shape in self.shapes.items()
            if name not in repeated and not is_buffer(name) and self._counts(name, shape)
        ]

    def _tensor(self, name: str, shape: tuple[int, ...], calls: Mapping[str, str]) -> Tensor:
        # A tied weight is pruned only where each of its names would have it pruned.
        others = self.aliases.get(name, ())
        known = [by_name(each, shape, others) for each in (name, *others)]
        spared = next((tensor for tensor in known if tensor.reason), known[0])
        tied = "tied to " if spared.reason and known[0].reason is None else ""
        undo = next((calls[each] for each in (name, *others) if each in calls), None)
        return replace(known[0], reason=spared.reason and tied + spared.reason, undo=undo)

    def is_floating(self, name: str) -> bool:
        """Whether a tensor holds real or complex floating numbers."""
        return self.dtypes[name].startswith(_FLOATING)

    def _counts(self, name: str, shape: tuple[int, ...]) -> bool:
        # Integer tensors are indices and counters, unless they stand where a weight should.
        return self.is_floating(name) or by_name(name, shape).reason is None

    def digest(self) -> str:
        """SHA-256 over the tensors in name order: name, dtype, shape, bytes. The same for the same
        tensors in whatever form of file."""
        return digest_of(sorted(self), self.dtypes, self.shapes, self.raw)


def digest_of(
    names: list[str],
    dtypes: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    raw: Any,
) -> str:
    """The digest of tensors: over each one's name, dtype, shape and raw bytes, little-endian."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0{dtypes[name]}\0{list(shapes[name])}\0".encode())
        digest.update(np.ascontiguousarray(raw(name)).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


class SafetensorsCheckpoint(Checkpoint):
    """One safetensors file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "safetensors")
        self.file = TensorFile(path)

    @property
    def metadata(self) -> dict[str, str]:
        """The file's own metadata."""
        return self.file.metadata

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: entry.shape for name, entry in self.file.entries.items()}

    @cached_property
    def dtypes(self) -> dict[str, str]:
        return {name: entry.dtype for name, entry in self.file.entries.items()}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.file.tensor(name)

    def raw(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        return self.file.raw(name)

    def write(self, output: Output, mask: Mask) -> list[str]:
        with output.writing(self.size) as file:
            file.write(self.file.head)
            for name in self.file.entries:
                if name in mask:
                    file.write(_masked(self.file.raw(name), mask.packed(name).unpack()).data)
                else:
                    file.write(self.file.bytes_of(name))
        return []


def _masked(
    raw: np.ndarray[Any, np.dtype[Any]], keep: np.ndarray[Any, np.dtype[np.bool_]]
) -> np.ndarray[Any, np.dtype[Any]]:
    wide = keep.reshape(*keep.shape, *(1,) * (raw.ndim - keep.ndim))
    return np.where(wide, raw, raw.dtype.type(0))


def open_checkpoint(
    path: str | os.PathLike[str], key: str | None = None, also: tuple[str, ...] = ()
) -> Checkpoint:
    """Open a checkpoint: a `.safetensors` file, or what torch.save wrote (zip or legacy).

    `key` chooses the entry of a wrapped file, such as `"state_dict_ema"`; without, `also` names
    entries to look for after the usual ones. The file is checked before torch sees it, and is
    never allowed to run code. Raises an `InputError` that says what is wrong.
    """
    path = Path(path)
    shown = printable(str(path))
    form = form_of(path)
    if form == "safetensors":
        if key is not None:
            raise UsageError(f"{shown} is a safetensors file: it has no entries to choose")
        checkpoint = SafetensorsCheckpoint(path)
        if TICKET in checkpoint.metadata:
            raise CheckpointError(f"{shown}: a ticket, where a checkpoint was expected")
        return checkpoint
    if path.suffix == ".safetensors":  # torch.load would take its name's word for it
        raise CheckpointError(
            f"{shown}: a file of torch.save under the name of a safetensors file; rename it to .pt"
        )
    from ticketkit.torchfile import TorchCheckpoint

    return TorchCheckpoint(path, form, key, also)
