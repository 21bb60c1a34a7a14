"""Reading a ticket: everything is checked before anything of its size is allocated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import ticketkit
from ticketkit.archive import form_of
from ticketkit.bits import Bits, BlockBits, PackedBits
from ticketkit.errors import InputError, TicketError, printable, some
from ticketkit.fields import field, numbers, object_of, texts, whole
from ticketkit.files import sha256
from ticketkit.layer import Layer
from ticketkit.mask import Mask
from ticketkit.prunable import Counts
from ticketkit.rice import RiceRow
from ticketkit.surviving import Values
from ticketkit.tensorfile import DTYPES, TICKET, TensorFile, itemsize
from ticketkit.ticket import Provenance, Ticket
from ticketkit.ticketfile import (
    ENCODINGS,
    FORMAT,
    LAYER_FIELDS,
    beyond,
    digest_of,
    is_ticket,
    metadata_of,
)
from ticketkit.tiling import Tiling


def read(path: Path, verify: bool) -> Ticket:
    """The ticket in a file; a `TicketError` for what is none, or is not as it was written."""
    shown = printable(str(path))
    if form_of(path) != "safetensors":
        raise TicketError(f"{shown}: a file of torch.save, not a ticket")
    file = TensorFile(path)
    if not is_ticket(file):
        raise TicketError(f"{shown}: a safetensors file, but not a ticket: no {TICKET!r} metadata")
    try:
        text = file.metadata[TICKET]
        loaded = json.loads(text, parse_constant=_no_constant, parse_float=_number)
        metadata = object_of(loaded)
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
    made_by, needs = field(metadata, "made_by", str), field(metadata, "needs", str)
    if metadata["format"] != FORMAT or metadata["encoding"] not in ENCODINGS:
        raise TicketError(
            f"{shown}: made by ticketkit {printable(made_by, 40)}, needs >= {printable(needs, 40)};"
            f" this is {ticketkit.__version__}"
        )


def _ticket(shown: str, file: TensorFile, metadata: Mapping[str, Any], verify: bool) -> Ticket:
    layers = {name: object_of(x) for name, x in field(metadata, "layers", dict).items()}
    beside = {name: object_of(x["values"]) for name, x in layers.items() if "values" in x}
    tensors = [*layers, *(field(record, "tensor", str) for record in beside.values())]
    if set(tensors) != set(file.entries) or len(set(tensors)) < len(tensors):
        odd = sorted(set(tensors) ^ set(file.entries))
        raise TicketError(f"{shown}: its metadata and its tensors differ in {some(odd)}")
    mask = Mask({name: _layer_bits(shown, file, name, layers[name], verify) for name in layers})
    aliases = {n: texts(layer, "aliases") for n, layer in layers.items() if "aliases" in layer}
    others = [other for names in aliases.values() for other in names]
    if len({*others, *layers}) < len(others) + len(layers):
        raise TicketError(f"{shown}: its tied parameters have names that others have too")
    if beside and (without := sorted(set(layers) - set(beside))):
        raise TicketError(f"{shown}: values of some layers, but none of {some(without)}")
    ticket = Ticket(
        mask,
        _provenance(field(metadata, "provenance", dict)),
        _counts(field(metadata, "counts", dict)),
        aliases,
        metadata["made_by"],
        values={
            name: _values(f"{shown}: {printable(name)}", file, record, mask.packed(name), verify)
            for name, record in beside.items()
        },
    )
    known = {n: {f: x[f] for f in LAYER_FIELDS if f in x} for n, x in layers.items()}
    return replace(ticket, extra=beyond(metadata, metadata_of(ticket, metadata["encoding"], known)))


def _provenance(record: Mapping[str, Any]) -> Provenance:
    sparsity = field(record, "sparsity", float, int)
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity: expected a number from 0 to 1, found {sparsity}")
    versions = field(record, "versions", dict)
    normalisation = field({"normalisation": {}, **record}, "normalisation", dict)
    return Provenance(
        scheme=field(record, "scheme", str),
        criterion=field(record, "criterion", str),
        allocation=field(record, "allocation", str),
        strategy=field(record, "strategy", str),
        sparsity=float(sparsity),
        seed=field(record, "seed", int),
        include=texts(record, "include"),
        exclude=texts(record, "exclude"),
        allow_empty_layers=field(record, "allow_empty_layers", bool),
        source=field(record, "source", str, type(None)),
        versions={name: field(versions, name, str) for name in versions},
        normalisation={name: numbers(normalisation, name) for name in normalisation},
        **{
            name: field({name: None, **record}, name, str, type(None))
            for name in ("task", "fit", "robustifier", "arch", "head")
        },
    )


def _counts(record: Mapping[str, Any]) -> Counts:
    names = ("prunable", "weights", "parameters")
    return Counts(*whole([record[name] for name in names], least=0))


def _layer_bits(
    shown: str, file: TensorFile, name: str, layer: Mapping[str, Any], verify: bool
) -> PackedBits | BlockBits:
    where = f"{shown}: {printable(name)}"
    data, entry = file.bytes_of(name), file.entries[name]
    if entry.dtype != "U8" or len(entry.shape) != 1:
        raise TicketError(f"{where}: expected a row of U8, found {entry.dtype} {list(entry.shape)}")
    recorded, kept = field(layer, "sha256", str), field(layer, "kept", int)
    _check_digest(where, data, recorded, verify)
    shape = layer["shape"]
    try:
        packed = _packed(name, whole(shape, least=0), layer, np.frombuffer(data, np.uint8))
    except ValueError as error:
        raise TicketError(f"{where}: shape {printable(str(shape), 80)}: {error}") from None
    if verify and packed.kept != kept:
        raise TicketError(
            f"{where}: {kept:,} weights kept by its record, {packed.kept:,} by its bits"
        )
    return packed


def _values(
    where: str,
    file: TensorFile,
    record: Mapping[str, Any],
    packed: PackedBits | BlockBits,
    verify: bool,
) -> Values:
    """The values of a layer, over the mapped file."""
    tensor, dtype = record["tensor"], field(record, "dtype", str)
    if dtype not in DTYPES:
        raise TicketError(f"{where}: values of a dtype {printable(dtype, 40)}: not supported")
    data, entry = file.bytes_of(tensor), file.entries[tensor]
    expected = (itemsize(dtype), packed.kept)
    if entry.dtype != "U8" or entry.shape != expected:
        raise TicketError(
            f"{where}: expected {dtype} values in U8 {list(expected)}, found {entry.dtype} "
            f"{list(entry.shape)}"
        )
    _check_digest(f"{where}: its values", data, field(record, "sha256", str), verify)
    return Values(dtype, np.frombuffer(data, np.uint8).reshape(expected))


def _check_digest(where: str, data: memoryview, recorded: str, verify: bool) -> None:
    if verify and (found := sha256(data)) != recorded:
        raise TicketError(
            f"{where}: altered: expected sha256 {printable(recorded, 80)}, found {found} "
            "(--no-verify goes on)"
        )


def _packed(
    name: str, shape: tuple[int, ...], layer: Mapping[str, Any], data: Bits
) -> PackedBits | BlockBits:
    if math.prod(shape) >= 2**62:
        raise ValueError("larger than any layer")
    if "block" not in layer:
        return PackedBits(shape, _row(layer, data, math.prod(shape)))
    transposed = layer.get("transposed")
    if transposed is not None:
        whole([transposed], least=1)
        if len(shape) < 2 or shape[0] % transposed:
            raise ValueError(f"{transposed} groups do not divide it")
    block = whole(layer["block"], least=1)
    described = Layer.of(name, shape, transposed)
    if len(block) != len(shape) or any(b > s for b, s in zip(block, described.shape, strict=True)):
        raise ValueError(f"a block of {list(block)} in a layer of {list(described.shape)}")
    return BlockBits(described, block, _row(layer, data, Tiling(described.shape, block).count))


def _row(layer: Mapping[str, Any], data: Bits, size: int) -> Bits | RiceRow:
    """The bits of a layer, or their code, which is checked and not decoded."""
    if "rice" not in layer:
        return data
    code = object_of(layer["rice"])
    coded, codes, parameter = whole([code[x] for x in ("coded", "codes", "parameter")], least=0)
    row = RiceRow(size, coded, codes, parameter, data)
    row.check()
    return row


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # which could not be written again
        raise ValueError(f"{printable(text, 40)} is too large a number")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return printable(str(error) or type(error).__name__, 300)
