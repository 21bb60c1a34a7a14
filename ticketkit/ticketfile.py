"""The ticket's file: safetensors, with all metadata in one key of sorted JSON.

With more keys, safetensors writes them in an order that varies from run to run. What a newer
ticketkit has added to the metadata is kept as it was read, and written back in its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ticketkit.bits import Bits, BlockBits, PackedBits
from ticketkit.errors import UsageError
from ticketkit.files import sha256
from ticketkit.tensorfile import TICKET, TensorFile
from ticketkit.ticket import Ticket

FORMAT = 1
ENCODINGS = ("packed",)


def is_ticket(file: TensorFile) -> bool:
    """Whether a safetensors file says that it is a ticket."""
    return TICKET in file.metadata


def encode(ticket: Ticket, encoding: str) -> bytes:
    """The bytes of a ticket's file: the same for the same ticket."""
    from safetensors.numpy import save

    if encoding not in ENCODINGS:
        raise UsageError(f"unknown encoding {encoding!r}; choose from {', '.join(ENCODINGS)}")
    stored = {name: _stored(ticket.mask.packed(name)) for name in ticket.mask}
    if "__metadata__" in stored:
        raise UsageError("a parameter named '__metadata__' cannot be stored in safetensors")
    metadata = _merged(ticket.extra, metadata_of(ticket, encoding))
    return save(stored, {TICKET: _text({**metadata, "sha256": digest_of(metadata)})})


def metadata_of(ticket: Ticket, encoding: str) -> dict[str, Any]:
    """What this version records of a ticket."""
    return {
        "format": FORMAT,
        "made_by": ticket.made_by,
        "needs": "0.1.0",
        "encoding": encoding,
        "provenance": vars(ticket.provenance),
        "sparsity": ticket.mask.sparsity,
        "counts": vars(ticket.counts),
        "layers": {name: _layer(ticket, name) for name in ticket.mask},
    }


def _layer(ticket: Ticket, name: str) -> dict[str, Any]:
    packed = ticket.mask.packed(name)
    layer: dict[str, Any] = {
        "shape": list(packed.shape),
        "kept": packed.kept,
        "sha256": sha256(_stored(packed).tobytes()),
    }
    if isinstance(packed, BlockBits):
        layer["block"] = list(packed.block)
        if packed.layer.transposed is not None:
            layer["transposed"] = packed.layer.transposed
    if name in ticket.aliases:
        layer["aliases"] = list(ticket.aliases[name])
    return layer


def _stored(packed: PackedBits | BlockBits) -> Bits:
    return packed.blocks if isinstance(packed, BlockBits) else packed.bits


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
