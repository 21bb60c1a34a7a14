"""Reading a ticket: everything is checked before anything of its size is allocated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import ticketkit
from ticketkit.archive import form_of
from ticketkit.bits import Bits, BlockBits, PackedBits
from ticketkit.errors import InputError, TicketError, printable, some
from ticketkit.files import sha256
from ticketkit.layer import Layer
from ticketkit.mask import Mask
from ticketkit.prunable import Counts
from ticketkit.tensorfile import TICKET, TensorFile
from ticketkit.ticket import Provenance, Ticket
from ticketkit.ticketfile import ENCODINGS, FORMAT, beyond, digest_of, is_ticket, metadata_of
from ticketkit.tiling import Tiling

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def read(path: Path, verify: bool) -> Ticket:
    """The ticket in a file; a `TicketError` for what is none, or is not as it was written."""
    shown = printable(str(path))
    if form_of(path) != "safetensors":
        raise TicketError(f"{shown}: a file of torch.save, not a ticket")
    file = TensorFile(path)
    if not is_ticket(file):
        raise TicketError(f"{shown}: a safetensors file, but not a ticket: no {TICKET!r} metadata")
    try:
        metadata = _object(json.loads(file.metadata[TICKET], parse_constant=_no_constant))
        _check_format(shown, metadata)
        recorded = metadata.pop("sha256")
        found = digest_of(metadata)  # not to be had of text that cannot be written again
        if verify and found != recorded:
            raise TicketError(
                f"{shown}: its metadata was altered: expected sha256 "
                f"{printable(str(recorded), 80)}, found {found} (--no-verify goes on)"
            )
        return _ticket(shown, file, metadata, verify)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise TicketError(f"{shown}: malformed ticket metadata: {_reason(error)}") from None


def _check_format(shown: str, metadata: Mapping[str, Any]) -> None:
    made_by, needs = _field(metadata, "made_by", str), _field(metadata, "needs", str)
    if metadata["format"] != FORMAT or metadata["encoding"] not in ENCODINGS:
        raise TicketError(
            f"{shown}: made by ticketkit {printable(made_by, 40)}, needs >= {printable(needs, 40)};"
            f" this is {ticketkit.__version__}"
        )


def _ticket(shown: str, file: TensorFile, metadata: Mapping[str, Any], verify: bool) -> Ticket:
    layers = {name: _object(x) for name, x in _field(metadata, "layers", dict).items()}
    if set(layers) != set(file.entries):
        odd = sorted(set(layers) ^ set(file.entries))
        raise TicketError(f"{shown}: its metadata and its tensors differ in {some(odd)}")
    mask = Mask({name: _layer_bits(shown, file, name, layers[name], verify) for name in layers})
    aliases = {n: _texts(layer, "aliases") for n, layer in layers.items() if "aliases" in layer}
    others = [other for names in aliases.values() for other in names]
    if len({*others, *layers}) < len(others) + len(layers):
        raise TicketError(f"{shown}: its tied parameters have names that others have too")
    known = Ticket(
        mask,
        _provenance(_field(metadata, "provenance", dict)),
        _counts(_field(metadata, "counts", dict)),
        aliases,
        metadata["made_by"],
    )
    extra = beyond(metadata, metadata_of(known, metadata["encoding"]))
    return Ticket(mask, known.provenance, known.counts, aliases, known.made_by, extra)


def _provenance(record: Mapping[str, Any]) -> Provenance:
    sparsity = _field(record, "sparsity", float, int)
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity: expected a number from 0 to 1, found {sparsity}")
    versions = _field(record, "versions", dict)
    return Provenance(
        scheme=_field(record, "scheme", str),
        criterion=_field(record, "criterion", str),
        allocation=_field(record, "allocation", str),
        strategy=_field(record, "strategy", str),
        sparsity=float(sparsity),
        seed=_field(record, "seed", int),
        include=_texts(record, "include"),
        exclude=_texts(record, "exclude"),
        allow_empty_layers=_field(record, "allow_empty_layers", bool),
        source=_field(record, "source", str, type(None)),
        versions={name: _field(versions, name, str) for name in versions},
    )


def _counts(record: Mapping[str, Any]) -> Counts:
    names = ("prunable", "weights", "parameters")
    return Counts(*_whole([record[name] for name in names], least=0))


def _layer_bits(
    shown: str, file: TensorFile, name: str, layer: Mapping[str, Any], verify: bool
) -> PackedBits | BlockBits:
    where = f"{shown}: {printable(name)}"
    data, entry = file.bytes_of(name), file.entries[name]
    if entry.dtype != "U8" or len(entry.shape) != 1:
        raise TicketError(f"{where}: expected a row of U8, found {entry.dtype} {list(entry.shape)}")
    recorded, kept = _field(layer, "sha256", str), _field(layer, "kept", int)
    if verify and (found := sha256(data)) != recorded:
        raise TicketError(
            f"{where}: altered: expected sha256 {printable(recorded, 80)}, found {found} "
            "(--no-verify goes on)"
        )
    shape = layer["shape"]
    try:
        packed = _packed(name, _whole(shape, least=0), layer, np.frombuffer(data, np.uint8))
    except ValueError as error:
        raise TicketError(f"{where}: shape {printable(str(shape), 80)}: {error}") from None
    if verify and packed.kept != kept:
        raise TicketError(
            f"{where}: {kept:,} weights kept by its record, {packed.kept:,} by its bits"
        )
    return packed


def _packed(
    name: str, shape: tuple[int, ...], layer: Mapping[str, Any], bits: Bits
) -> PackedBits | BlockBits:
    if math.prod(shape) >= 2**62:
        raise ValueError("larger than any layer")
    if "block" not in layer:
        return PackedBits(shape, bits)
    transposed = layer.get("transposed")
    if transposed is not None:
        _whole([transposed], least=1)
        if len(shape) < 2 or shape[0] % transposed:
            raise ValueError(f"{transposed} groups do not divide it")
    block = _whole(layer["block"], least=1)
    described = Layer.of(name, shape, transposed)
    if len(block) != len(shape) or any(b > s for b, s in zip(block, described.shape, strict=True)):
        raise ValueError(f"a block of {list(block)} in a layer of {list(described.shape)}")
    return BlockBits(described, Tiling(described.shape, block).block, bits)


def _whole(values: object, least: int) -> tuple[int, ...]:
    if not isinstance(values, list) or any(type(v) is not int or v < least for v in values):
        found = printable(repr(values), 80)
        raise ValueError(f"expected whole numbers of {least} or more, found {found}")
    return tuple(values)


def _field(record: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """A field of the metadata, of one of the kinds that JSON has."""
    value = record[name]
    if type(value) not in kinds:
        wanted = " or ".join(_WORDS[kind] for kind in kinds)
        raise ValueError(f"{name}: expected {wanted}, found {printable(repr(value), 80)}")
    return value


def _texts(record: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = _field(record, name, list)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name}: expected a list of text, found {printable(repr(values), 80)}")
    return tuple(values)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {printable(repr(value), 80)}")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return printable(str(error) or type(error).__name__, 300)
