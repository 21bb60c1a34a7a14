"""A checkpoint's tensors under other names, masks left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch

from ticketkit.checkpoint import Checkpoint
from ticketkit.digests import digest_of
from ticketkit.errors import CheckpointError, printable
from ticketkit.loading import is_plain
from ticketkit.prunable import is_buffer


@dataclass(frozen=True)
class View(Mapping[str, torch.Tensor]):
    """Some tensors of a checkpoint by plain names; each is read when asked for."""

    checkpoint: Checkpoint
    stored: Mapping[str, str]
    """Plain name to the name in the file."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> View:
        """All tensors under their own names."""
        return cls(checkpoint, {name: name for name in checkpoint})

    def renamed(self, names: Mapping[str, str]) -> View:
        """Under the keys of `names` the tensors that this view has under its values."""
        return View(self.checkpoint, {new: self.stored[old] for new, old in names.items()})

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self.checkpoint[self.stored[name]]
        if not is_plain(tensor):
            raise CheckpointError(
                f"{printable(name)}: expected a dense tensor with its values, found "
                f"{'a meta' if tensor.is_meta else 'a sparse or quantised'} tensor"
            )
        return tensor.detach()

    def __contains__(self, name: object) -> bool:
        return name in self.stored  # which reads no tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        shapes = self.checkpoint.shapes
        return {name: shapes[stored] for name, stored in self.stored.items()}

    def is_floating(self, name: str) -> bool:
        """Whether a tensor holds real or complex floating numbers."""
        return self.checkpoint.is_floating(self.stored[name])

    def parameters(self, masked: Collection[str]) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter; of tied ones the masked ones, or else the first."""
        plain = {stored: name for name, stored in self.stored.items()}
        left_out: set[str] = set()
        for first, others in self.checkpoint.aliases.items():
            tied = [plain[stored] for stored in (first, *others) if stored in plain]
            left_out |= {*tied} - {*([name for name in tied if name in masked] or tied[:1])}
        return {
            name: shape
            for name, shape in self.shapes.items()
            if name in masked
            or (name not in left_out and not is_buffer(name) and self.is_floating(name))
        }

    def digest(self) -> str:
        """The digest that a checkpoint of these tensors under these names has."""
        dtypes = {name: self.checkpoint.dtypes[stored] for name, stored in self.stored.items()}
        return digest_of(
            sorted(self), dtypes, self.shapes, lambda name: self.checkpoint.raw(self.stored[name])
        )
