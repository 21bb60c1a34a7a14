"""The ticket: a mask and where it came from; the same ticket gives the same bytes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import ticketkit
from ticketkit.archive import form_of
from ticketkit.bits import Bits, BlockBits, PackedBits
from ticketkit.errors import InputError, MismatchError, TicketError, UsageError, printable, some
from ticketkit.files import Output, reserve, sha256
from ticketkit.layer import Layer
from ticketkit.mask import Mask
from ticketkit.prunable import Counts
from ticketkit.tensorfile import TensorFile
from ticketkit.tiling import Tiling

FORMAT = 1
_KEY = "ticketkit"
_ENCODINGS = ("packed",)


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
    versions: Mapping[str, str] = field(default_factory=dict)
    """Version of each distribution that took part."""


@dataclass(frozen=True)
class Ticket:
    """A sparse subnetwork f(· ; m ⊙ θ_pre): its mask, and enough provenance to draw it again."""

    mask: Mask
    provenance: Provenance
    counts: Counts
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other names of masked parameters that are tied."""
    made_by: str = ticketkit.__version__
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of newer versions, kept as it was read."""

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
        return {name: self.removed / count for name, count in over.items()}

    def mask_for(self, names: Container[str]) -> Mask:
        """The mask, with the other names of tied parameters where `names` has them."""
        bits = {name: self.mask.packed(name) for name in self.mask}
        tied = {o: bits[n] for n, others in self.aliases.items() for o in others if o in names}
        return Mask(bits | tied)

    def save(self, path: str | os.PathLike[str], encoding: str = "packed") -> None:
        """Write the ticket, replacing what is there once the whole file is written.

        `encoding="packed"` stores one bit a weight, or one a block where the scheme is a tiling.
        """
        with reserve(Path(path)) as output:
            self.write(output, encoding)

    def write(self, output: Output, encoding: str = "packed") -> None:
        """`save`, to an output that is reserved already."""
        data = self.encoded(encoding)
        with output.writing(len(data)) as file:
            file.write(data)

    def encoded(self, encoding: str = "packed") -> bytes:
        """The bytes of the ticket's file."""
        from safetensors.numpy import save

        if encoding not in _ENCODINGS:
            raise UsageError(f"unknown encoding {encoding!r}; choose from {', '.join(_ENCODINGS)}")
        stored = {name: _stored(self.mask.packed(name)) for name in self.mask}
        if "__metadata__" in stored:
            raise UsageError("a parameter named '__metadata__' cannot be stored in safetensors")
        metadata = {
            **self.extra,
            "format": FORMAT,
            "made_by": self.made_by,
            "needs": "0.1.0",
            "encoding": encoding,
            "provenance": vars(self.provenance),
            "sparsity": self.mask.sparsity,
            "counts": vars(self.counts),
            "layers": {name: self._layer(name, bits) for name, bits in stored.items()},
        }
        text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return save(stored, {_KEY: text})

    def check_source(self, digest: str) -> None:
        """Raise a `MismatchError` unless the ticket was drawn from weights of this digest."""
        expected = self.provenance.source
        if expected is not None and digest != expected:
            raise MismatchError(
                f"these are other weights than those the ticket was drawn from: expected sha256 "
                f"{expected}, found {digest} (--no-verify goes on)"
            )

    def _layer(self, name: str, bits: Bits) -> dict[str, Any]:
        packed = self.mask.packed(name)
        layer: dict[str, Any] = {
            "shape": list(packed.shape),
            "kept": packed.kept,
            "sha256": sha256(bits.tobytes()),
        }
        if isinstance(packed, BlockBits):
            layer["block"] = list(packed.block)
            if packed.layer.transposed is not None:
                layer["transposed"] = packed.layer.transposed
        if name in self.aliases:
            layer["aliases"] = list(self.aliases[name])
        return layer


def load_ticket(path: str | os.PathLike[str], verify: bool = True) -> Ticket:
    """Read a ticket. Its digests are checked unless `verify` is false.

    Raises a `TicketError` that says what was expected and what was found.
    """
    path = Path(path)
    shown = printable(str(path))
    if form_of(path) != "safetensors":
        raise TicketError(f"{shown}: a file of torch.save, not a ticket")
    file = TensorFile(path)
    if _KEY not in file.metadata:
        raise TicketError(f"{shown}: a safetensors file, but not a ticket: no {_KEY!r} metadata")
    try:
        metadata = json.loads(file.metadata[_KEY])
        _check_format(shown, metadata)
        return _ticket(shown, file, metadata, verify)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise TicketError(f"{shown}: malformed ticket metadata: {reason}") from None


def is_ticket(file: TensorFile) -> bool:
    """Whether a safetensors file says that it is a ticket."""
    return _KEY in file.metadata


def _check_format(shown: str, metadata: Mapping[str, Any]) -> None:
    made_by, needs = metadata.get("made_by"), metadata.get("needs")
    if metadata["format"] != FORMAT or metadata["encoding"] not in _ENCODINGS:
        raise TicketError(
            f"{shown}: made by ticketkit {made_by}, needs >= {needs}; "
            f"this is {ticketkit.__version__}"
        )


def _ticket(shown: str, file: TensorFile, metadata: dict[str, Any], verify: bool) -> Ticket:
    layers: dict[str, dict[str, Any]] = metadata.pop("layers")
    if set(layers) != set(file.entries):
        odd = sorted(set(layers) ^ set(file.entries))
        raise TicketError(f"{shown}: its metadata and its tensors differ in {some(odd)}")
    mask = Mask({name: _layer_bits(shown, file, name, layers[name], verify) for name in layers})
    provenance = dict(metadata.pop("provenance"))
    provenance |= {k: tuple(provenance[k]) for k in ("include", "exclude")}
    counts = Counts(**metadata.pop("counts"))
    made_by = metadata.pop("made_by")
    aliases = {n: tuple(entry["aliases"]) for n, entry in layers.items() if "aliases" in entry}
    for known in ("format", "needs", "encoding", "sparsity"):
        metadata.pop(known)
    return Ticket(mask, Provenance(**provenance), counts, aliases, made_by, metadata)


def _layer_bits(
    shown: str, file: TensorFile, name: str, layer: dict[str, Any], verify: bool
) -> PackedBits | BlockBits:
    """One layer's bits: everything is checked before anything of the layer's size is allocated."""
    where = f"{shown}: {printable(name)}"
    data = file.bytes_of(name)
    entry = file.entries[name]
    if entry.dtype != "U8" or len(entry.shape) != 1:
        raise TicketError(f"{where}: expected a row of U8, found {entry.dtype} {list(entry.shape)}")
    if verify and (found := sha256(data)) != layer["sha256"]:
        raise TicketError(
            f"{where}: altered: expected sha256 {layer['sha256']}, found {found} "
            "(--no-verify goes on)"
        )
    shape = _sides(where, layer["shape"], least=0)
    bits = np.frombuffer(data, np.uint8)
    try:
        packed = _packed(where, name, shape, layer, bits)
    except InputError as error:
        raise TicketError(f"{where}: shape {list(shape)}: {error}") from None
    if verify and packed.kept != layer["kept"]:
        raise TicketError(
            f"{where}: {layer['kept']:,} weights kept by its record, {packed.kept:,} by its bits"
        )
    return packed


def _packed(
    where: str, name: str, shape: tuple[int, ...], layer: dict[str, Any], bits: Bits
) -> PackedBits | BlockBits:
    if "block" not in layer:
        return PackedBits(shape, bits)
    transposed = layer.get("transposed")
    if transposed is not None:
        _sides(where, [transposed], least=1)
        if len(shape) < 2 or shape[0] % transposed:
            raise TicketError(f"{where}: {transposed} groups do not divide {list(shape)}")
    block = _sides(where, layer["block"], least=1)
    described = Layer.of(name, shape, transposed)
    if len(block) != len(shape) or any(b > s for b, s in zip(block, described.shape, strict=True)):
        raise TicketError(
            f"{where}: a block of {list(block)} in a layer of {list(described.shape)}"
        )
    return BlockBits(described, Tiling(described.shape, block).block, bits)


def _sides(where: str, values: object, least: int) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(v) is not int or v < least for v in values):
        raise TicketError(f"{where}: expected whole numbers of {least} or more, found {values!r}")
    if math.prod(values) >= 2**62:
        raise TicketError(f"{where}: {values} is larger than any layer")
    return tuple(values)


def _stored(packed: PackedBits | BlockBits) -> Bits:
    return packed.blocks if isinstance(packed, BlockBits) else packed.bits
