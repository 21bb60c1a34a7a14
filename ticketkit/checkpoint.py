"""A checkpoint: a lazy mapping of names to tensors, over a file of any of the forms people have."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ticketkit.archive import form_of
from ticketkit.computed import computed_from
from ticketkit.digests import digest_of
from ticketkit.errors import CheckpointError, UsageError, printable, some
from ticketkit.naming import Naming
from ticketkit.prunable import Tensor, by_name, is_buffer

if TYPE_CHECKING:
    import torch

    from ticketkit.mask import Mask
    from ticketkit.pretrained import Pretraining
    from ticketkit.surviving import Values

_FORMS = {
    "safetensors": "safetensors",
    "sharded": "sharded safetensors",
    "zip": "PyTorch (zip)",
    "legacy": "PyTorch (legacy)",
}
_FLOATING = ("F", "BF", "C")
# What normalises more channels than this is no normaliser of pictures.
_MOST_CHANNELS = 1024
Raw = np.ndarray[Any, np.dtype[Any]]


class Checkpoint(Mapping[str, "torch.Tensor"]):
    """The tensors of a checkpoint by name, in the file's order; each is read when asked for.

    Names are those of the bare network; `naming` tells what the file calls them.
    """

    def __init__(
        self,
        path: Path,
        form: str,
        shapes: Mapping[str, tuple[int, ...]],
        dtypes: Mapping[str, str],
    ) -> None:
        """`shapes` and `dtypes` are by the file's own keys."""
        self.path = path
        self.form = form
        self.naming = Naming.of(shapes)
        self.shapes: dict[str, tuple[int, ...]] = self._checked(shapes)
        """The shape of each tensor."""
        self.dtypes: dict[str, str] = {n: dtypes[k[0]] for n, k in self.naming.keys.items()}
        """The dtype of each tensor, as safetensors names it: `"F32"`."""
        self.key: str | None = None
        """The entry of a wrapped file that holds these tensors; None for a plain file."""
        self.others: list[str] = []
        """Entries of a wrapped file that hold weights too."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of the file, or of all files together."""

    @abstractmethod
    def at(self, key: str) -> torch.Tensor:
        """The tensor under a key of the file."""

    @abstractmethod
    def raw_at(self, key: str) -> Raw:
        """The bits of the tensor under a key of the file; see `raw`."""

    @abstractmethod
    def write(
        self, output: Any, mask: Mask, values: Mapping[str, Values] = MappingProxyType({})
    ) -> list[str]:
        """Write this checkpoint with the removed weights +0.0, the rest bit-equal and in order.

        `values` are survivors of masked parameters that are written in the place of its own.
        `output` is an `Output`, or an `OutputFolder` for a sharded checkpoint. The form stays, but
        for a `.pt` file whose output is named `.safetensors`: that is converted. Returns the names
        of what a conversion left behind.
        """

    @property
    def description(self) -> str:
        """The form in words: `"PyTorch (zip), entry 'state_dict'"`."""
        return _FORMS[self.form] + (f", entry {self.key!r}" if self.key else "")

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Names that share one tensor: the first of them, and the others."""
        return {}

    @property
    def pretraining(self) -> Pretraining | None:
        """How the network was made, if the file tells; a `CheckpointError` if that is garbled."""
        return None

    def elsewhere(self) -> list[str]:
        """What else is in the folder of a sharded checkpoint; it is neither read nor copied."""
        return []

    def raw(self, name: str) -> Raw:
        """A tensor's bits as unsigned integers, in its shape and in C order.

        Complex numbers have a last axis of two.
        """
        return self.raw_at(self.naming.keys[name][0])

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.at(self.naming.keys[name][0])

    def __contains__(self, name: object) -> bool:
        return name in self.shapes  # which reads no tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def normalisation(self) -> dict[str, tuple[float, ...]]:
        """The `mean` and `std` by which the file says inputs are normalised, if it does.

        One number a channel, of pictures in [0, 1].
        """
        if self.pretraining is not None:
            return dict(self.pretraining.normalisation)
        return {what: self._numbers(key) for what, key in self.naming.normalisation.items()}

    def tensors(self) -> list[Tensor]:
        """What names and shapes tell about each parameter, for a survey; tied tensors once."""
        repeated = {other for others in self.aliases.values() for other in others}
        calls = computed_from(self)
        return [
            self._tensor(name, shape, calls)
            for name, shape in self.shapes.items()
            if name not in repeated and not is_buffer(name) and self._counts(name, shape)
        ]

    def is_floating(self, name: str) -> bool:
        """Whether a tensor holds real or complex floating numbers."""
        return self.dtypes[name].startswith(_FLOATING)

    def digest(self) -> str:
        """SHA-256 over the tensors in name order: name, dtype, shape, bytes. The same for the same
        tensors in whatever form of file."""
        return digest_of(sorted(self), self.dtypes, self.shapes, self.raw, self.size)

    def _checked(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        named = self.naming.keys.items()
        odd = [name for name, keys in named if len({shapes[key] for key in keys}) > 1]
        if odd:
            raise CheckpointError(
                f"{printable(str(self.path))}: held twice, in two shapes: {some(odd)}"
            )
        return {name: tuple(shapes[keys[0]]) for name, keys in named}

    def _numbers(self, key: str) -> tuple[float, ...]:
        tensor = self.at(key)
        if tensor.numel() <= _MOST_CHANNELS and tensor.isfinite().all():
            return tuple(tensor.double().reshape(-1).tolist())
        raise CheckpointError(
            f"{printable(str(self.path))}: {printable(key)}: expected a finite number a channel"
        )

    def _tensor(self, name: str, shape: tuple[int, ...], calls: Mapping[str, str]) -> Tensor:
        # A tied weight is pruned only where each of its names would have it pruned.
        others = self.aliases.get(name, ())
        known = [by_name(each, shape, others) for each in (name, *others)]
        spared = next((tensor for tensor in known if tensor.reason), known[0])
        tied = "tied to " if spared.reason and known[0].reason is None else ""
        undo = next((calls[each] for each in (name, *others) if each in calls), None)
        return replace(known[0], reason=spared.reason and tied + spared.reason, undo=undo)

    def _counts(self, name: str, shape: tuple[int, ...]) -> bool:
        # Integer tensors are indices and counters, unless they stand where a weight should.
        return self.is_floating(name) or by_name(name, shape).reason is None


def open_checkpoint(
    path: str | os.PathLike[str], key: str | None = None, also: tuple[str, ...] = ()
) -> Checkpoint:
    """Open a checkpoint: a `.safetensors` file, a folder of shards or its
    `*.safetensors.index.json`, or what torch.save wrote (zip or legacy).

    `key` chooses the entry of a wrapped file, such as `"state_dict_ema"`; without, `also` names
    entries to look for after the usual ones. The file is checked before torch sees it, and is
    never allowed to run code. Raises an `InputError` that says what is wrong.
    """
    path = Path(path)
    shown = printable(str(path))
    form = form_of(path)
    if form in ("safetensors", "sharded"):
        if key is not None:
            raise UsageError(f"{shown} is a safetensors checkpoint: it has no entries to choose")
        from ticketkit.shards import ShardedCheckpoint, SingleFile

        return ShardedCheckpoint(path) if form == "sharded" else SingleFile(path)
    if path.suffix == ".safetensors":  # torch.load would take its name's word for it
        raise CheckpointError(
            f"{shown}: a file of torch.save under the name of a safetensors file; rename it to .pt"
        )
    from ticketkit.torchfile import TorchCheckpoint

    return TorchCheckpoint(path, form, key, also)
