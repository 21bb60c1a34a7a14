"""The ticket's file: safetensors, with all metadata in one key of sorted JSON.

With more keys, safetensors writes them in an order that varies from run to run. What a newer
ticketkit has added to the metadata is kept as it was read, and written back in its place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from ticketkit.bits import Bits, BlockBits, PackedBits
from ticketkit.errors import UsageError
from ticketkit.files import sha256
from ticketkit.rice import RiceRow
from ticketkit.tensorfile import TICKET, TensorFile, head_of
from ticketkit.ticket import Ticket

FORMAT = 1
ENCODINGS = ("packed", "rice")
# What a layer's record may have.
LAYER_FIELDS = ("shape", "kept", "sha256", "rice", "block", "transposed", "aliases", "values")


def is_ticket(file: TensorFile) -> bool:
    """Whether a safetensors file says that it is a ticket."""
    return TICKET in file.metadata


def check_encoding(encoding: str) -> None:
    """Raise a `UsageError` for an encoding that there is not."""
    if encoding not in ENCODINGS:
        raise UsageError(f"unknown encoding {encoding!r}; choose from {', '.join(ENCODINGS)}")


@dataclass(frozen=True)
class Encoded:
    """The bytes of a ticket's file: its head, and its tensors in the order in which they lie."""

    head: bytes
    tensors: tuple[Bits, ...]

    @property
    def size(self) -> int:
        """Number of bytes."""
        return len(self.head) + sum(tensor.nbytes for tensor in self.tensors)

    def write(self, file: IO[bytes]) -> None:
        """Write all of them."""
        file.write(self.head)
        for tensor in self.tensors:
            file.write(tensor.reshape(-1).data)


def encode(ticket: Ticket, encoding: str) -> Encoded:
    """A ticket's file: the same bytes for the same ticket."""
    check_encoding(encoding)
    if "__metadata__" in ticket.mask:
        raise UsageError("a parameter named '__metadata__' cannot be stored in safetensors")
    bits = {name: _coded(ticket.mask.packed(name), encoding) for name in ticket.mask}
    planes = dict(zip(_names_beside(ticket.mask), sorted(ticket.values.items()), strict=False))
    layers = {name: _layer(ticket, name, *bits[name]) for name in ticket.mask}
    for tensor, (name, values) in planes.items():
        digest = sha256(values.planes.reshape(-1).data)
        layers[name]["values"] = {"tensor": tensor, "dtype": values.dtype, "sha256": digest}
    metadata = _merged(ticket.extra, metadata_of(ticket, encoding, layers))
    text = _text({**metadata, "sha256": digest_of(metadata)})
    stored = {name: data for name, (data, _) in bits.items()}
    stored |= {tensor: values.planes for tensor, (_, values) in planes.items()}
    names = sorted(stored)
    head = head_of({n: ("U8", stored[n].shape, stored[n].nbytes) for n in names}, {TICKET: text})
    return Encoded(head, tuple(stored[name] for name in names))


def metadata_of(ticket: Ticket, encoding: str, layers: Mapping[str, Any]) -> dict[str, Any]:
    """What this version records of a ticket, beside what its layers' records have."""
    return {
        "format": FORMAT,
        "made_by": ticket.made_by,
        "needs": "0.1.0",
        "encoding": encoding,
        "provenance": vars(ticket.provenance),
        "sparsity": ticket.mask.sparsity,
        "counts": vars(ticket.counts),
        "layers": layers,
    }


def _layer(ticket: Ticket, name: str, data: Bits, code: Mapping[str, Any]) -> dict[str, Any]:
    packed = ticket.mask.packed(name)
    layer: dict[str, Any] = {
        "shape": list(packed.shape),
        "kept": packed.kept,
        "sha256": sha256(data.data),
        **code,
    }
    if isinstance(packed, BlockBits):
        layer["block"] = list(packed.block)
        if packed.layer.transposed is not None:
            layer["transposed"] = packed.layer.transposed
    if name in ticket.aliases:
        layer["aliases"] = list(ticket.aliases[name])
    return layer


def _coded(packed: PackedBits | BlockBits, encoding: str) -> tuple[Bits, dict[str, Any]]:
    """The bytes of a layer's bits, and what its record has to say of them."""
    if isinstance(packed, BlockBits):
        bits, size = packed.blocks, packed.tiling.count
    else:
        bits, size = packed.bits, packed.size
    if encoding == "rice":
        row = RiceRow.encode(bits, size)
        code = {"coded": row.coded, "codes": row.codes, "parameter": row.parameter}
        if row.data.nbytes + len(_text(code)) < bits.nbytes:
            return row.data, {"rice": code}
    return bits, {}


def _names_beside(names: Collection[str]) -> Iterator[str]:
    """Names for as many tensors more, none of which a parameter has."""
    prefix = "values"
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return (f"{prefix}.{number}" for number in range(len(names)))


def _text(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(metadata: Mapping[str, Any]) -> str:
    """SHA-256 of the metadata, however its text was laid out."""
    return sha256(_text(metadata).encode())


def _merged(extra: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What is known, and what is not, in one."""
    both = {
        name: _merged(extra[name], value) if name in extra and isinstance(value, dict) else value
        for name, value in known.items()
    }
    return {**extra, **both}


def beyond(found: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What was found and is not known, each in its place: the opposite of `_merged`."""
    extra: dict[str, Any] = {}
    for name, value in found.items():
        if name not in known:
            extra[name] = value
        elif isinstance(value, dict) and (more := beyond(value, known[name])):
            extra[name] = more
    return extra
