"""The ticket: a mask and where it came from; the same ticket gives the same bytes."""

from __future__ import annotations

import fnmatch
import io
import os
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ticketkit
from ticketkit.errors import MismatchError, UsageError
from ticketkit.files import Output, reserve
from ticketkit.mask import Mask
from ticketkit.prunable import Counts
from ticketkit.surviving import Values, check_values, tensor_of, values_of

if TYPE_CHECKING:
    import torch

    from ticketkit.ticketfile import Encoded


@dataclass(frozen=True)
class Provenance:
    """What it takes to draw a ticket again."""

    scheme: str
    criterion: str
    allocation: str
    strategy: str
    sparsity: float
    """The sparsity asked for; `Ticket.mask.sparsity` is what was reached."""
    seed: int
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_empty_layers: bool = False
    source: str | None = None
    """SHA-256 of the weights that the ticket was drawn from; None for a live network."""
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Version of each distribution that took part."""
    normalisation: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)
    """The `mean` and `std` by which the source says that inputs in [0, 1] are normalised."""
    task: str | None = None
    """The task whose data the criterion looked at, or the strategy trained on; None for none, and
    for data of a caller's own."""
    fit: str | None = None
    """The schedule by which the strategy trained; None for one that does not train."""
    robustifier: str | None = None
    """Under which perturbation it trained; None for natural training, and for none."""
    arch: str | None = None
    """The spec of the network that it trained, for a draw from a file."""
    head: str | None = None
    """Whether that had the file's head, `"kept"`, or a `"new"` one for the task."""


@dataclass(frozen=True)
class Ticket:
    """A sparse subnetwork f(· ; m ⊙ θ_pre): its mask, and enough provenance to draw it again."""

    mask: Mask
    provenance: Provenance
    counts: Counts
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Other names of masked parameters that are tied."""
    made_by: str = ticketkit.__version__
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Metadata of newer versions, kept as it was read."""
    values: Mapping[str, Values] = field(default_factory=dict, hash=False)
    """The surviving values of every masked parameter; empty where the ticket carries none."""

    def __post_init__(self) -> None:
        check_values(self.mask, self.values)

    @property
    def removed(self) -> int:
        """Number of weights removed."""
        return self.mask.size - self.mask.kept

    def reached(self) -> dict[str, float]:
        """The sparsity reached over the three denominators."""
        over = {
            "prunable": self.counts.prunable,
            "weights": self.counts.weights,
            "parameters": self.counts.parameters,
        }
        return {name: self.removed / max(1, count) for name, count in over.items()}

    def mask_for(self, names: Container[str]) -> Mask:
        """The mask, with the other names of tied parameters where `names` has them."""
        bits = {name: self.mask.packed(name) for name in self.mask}
        tied = {o: bits[n] for n, others in self.aliases.items() for o in others if o in names}
        return Mask(bits | tied)

    def mask_on(
        self, shapes: Mapping[str, tuple[int, ...]], allow_missing: Iterable[str] = ()
    ) -> Mask:
        """The mask on tensors of these shapes, the other names of tied parameters with it.

        Of masked parameters, those that a glob of `allow_missing` matches may be missing. Raises a
        `MismatchError` that counts and lists what else does not fit, or where none is there.
        """
        mask = self.mask_for(shapes)
        lacking = {
            name
            for name in mask
            if name not in shapes and any(fnmatch.fnmatchcase(name, glob) for glob in allow_missing)
        }
        if lacking and lacking == set(mask):
            raise MismatchError(f"none of the {len(mask)} masked parameters is there")
        mask = Mask({name: mask.packed(name) for name in mask if name not in lacking})
        mask.check_fits(shapes)
        return mask

    def with_values(self, source: torch.nn.Module | Mapping[str, torch.Tensor]) -> Ticket:
        """The ticket with the surviving values of `source`: a network, a state dict, a checkpoint.

        They are kept bit by bit. Raises a `MismatchError` where names or shapes differ.
        """
        return replace(self, values=values_of(self.mask, source))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The masked parameters of a ticket that carries its values: m ⊙ θ, +0.0 where removed.

        The other names of a tied parameter have the same tensor. Biases, normalisation and
        whatever else was not masked is not in it: load it with `strict=False`.
        """
        if not self.values:
            raise UsageError("the ticket holds no values: make it with ticket.with_values(source)")
        tensors = {n: tensor_of(self.values[n], self.mask.packed(n)) for n in self.mask}
        tied = {other: tensors[n] for n, others in self.aliases.items() for other in others}
        return tensors | tied

    def save(self, path: str | os.PathLike[str], encoding: str = "packed") -> None:
        """Write the ticket, replacing what is there once the whole file is written.

        `encoding="packed"` stores one bit a weight, or one a block where the scheme is a tiling;
        `"rice"` stores the gaps between the rarer bits, near the entropy.
        """
        with reserve(Path(path)) as output:
            self.write(output, encoding)

    def write(self, output: Output, encoding: str = "packed") -> None:
        """`save`, to an output that is reserved already."""
        encoded = self._encode(encoding)
        with output.writing(encoded.size) as file:
            encoded.write(file)

    def encoded(self, encoding: str = "packed") -> bytes:
        """The bytes of the ticket's file."""
        file = io.BytesIO()
        self._encode(encoding).write(file)
        return file.getvalue()

    def _encode(self, encoding: str) -> Encoded:
        from ticketkit.ticketfile import encode

        return encode(self, encoding)

    def check_source(self, digest: str) -> None:
        """Raise a `MismatchError` unless the ticket was drawn from weights of this digest."""
        expected = self.provenance.source
        if expected is not None and digest != expected:
            raise MismatchError(
                f"these are other weights than those the ticket was drawn from: expected sha256 "
                f"{expected}, found {digest} (--no-verify goes on)"
            )


def load_ticket(path: str | os.PathLike[str], verify: bool = True) -> Ticket:
    """Read a ticket. Its digests are checked unless `verify` is false.

    Raises a `TicketError` that says what was expected and what was found.
    """
    from ticketkit.ticketreader import read

    return read(Path(path), verify)
