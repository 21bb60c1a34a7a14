"""Group B: what a ticket takes on disk, and how long its bits take to encode and decode."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np

import ticketkit
from tests.benchmarks.measure import Line, Peer, Result, in_turn
from tests.benchmarks.networks import Scale, build
from ticketkit.bits import Bits, bits_between, pack
from ticketkit.rice import RiceRow
from ticketkit.tiling import Booleans

_SPARSITIES = (0.9, 0.95, 0.99)
# Packed bits and zstd, level 19, at these sparsities: over the entropy, by PERFORMANCE.md.
_ZSTD = (1.09, 1.10, 1.16)


def size_rows(scale: Scale) -> Iterator[Result]:
    """B1: a ticket's file, less its header, against the entropy of its layers' masks."""
    network = build(scale.network)
    peers: list[Peer] = []
    for sparsity, quoted in zip(_SPARSITIES, _ZSTD, strict=True):
        ticket = ticketkit.draw(network, scheme="unstructured", sparsity=sparsity)
        floor = _entropy(ticket.mask)
        ours = _less_header(ticket.encoded("rice"))
        what = f"mask bytes, rice, {scale.network}, {sparsity:.0%}"
        yield _sizes("B1", what, ours, floor, 1.02)
        deflated = sum(len(zlib.compress(bits.tobytes(), 9)) for bits in _rows(ticket.mask))
        at = f"{sparsity:.0%}"
        peers += [
            Peer("B1", f"np.packbits + zlib level 9, {at}", deflated / floor, deflated / 1e6, "MB"),
            Peer("B1", f"np.packbits + zstd level 19, {at}", quoted, quoted=True),
        ]
    yield from peers


def values_rows(scale: Scale) -> Iterator[Result]:
    """B2: a ticket's whole file with its float32 survivors, against entropy and survivors."""
    network = build(scale.network)
    for sparsity in _SPARSITIES:
        ticket = ticketkit.draw(network, scheme="unstructured", sparsity=sparsity)
        ticket = ticket.with_values(network)
        floor = _entropy(ticket.mask) + 4 * ticket.mask.kept
        data = ticket.encoded("rice")
        what = f"mask and float32 survivors, {scale.network}, {sparsity:.0%}"
        yield _sizes("B2", what, _less_header(data), floor, 1.005)
        whole = f"its whole file, header and digests too, {sparsity:.0%}"
        yield Peer("B2", whole, len(data) / floor, len(data) / 1e6, "MB")
    for sparsity, quoted in zip(_SPARSITIES, (1.21, 1.50, 3.76), strict=True):
        yield Peer("B2", f"compressed-tensors, {sparsity:.0%}", quoted, quoted=True)


def time_rows(scale: Scale) -> Iterator[Result]:
    """B3: nanoseconds a weight, layer by layer, between booleans and what is stored."""
    network = build(scale.network)
    for sparsity in _SPARSITIES:
        mask = ticketkit.draw(network, scheme="unstructured", sparsity=sparsity).mask
        keeps = [mask.packed(name).unpack().reshape(-1) for name in mask]
        rows = [RiceRow.encode(pack(keep), keep.size) for keep in keeps]
        calls: dict[str, tuple[Callable[[], None], float]] = {
            "packed, encode": (partial(_each, pack, keeps), 0.15),
            "packed, decode": (partial(_each, _unpacked, _rows(mask)), 0.15),
            "rice, encode": (partial(_each, _coded, keeps), 1.5),
            "rice, decode": (partial(_each, _decoded, rows), 2.0),
        }
        copy = partial(_each, np.copy, keeps)
        taken = in_turn(scale.runs, copy, *(call for call, _ in calls.values()))
        floor, *ours = [1e9 * median(times) / mask.size for times in taken]
        for (what, (_, goal)), time in zip(calls.items(), ours, strict=True):
            line = f"{what}, {scale.network}, {sparsity:.0%}; floor: a copy"
            yield Line("B3", line, time, floor, "ns", time, goal, sign="ns")


def _each(work: Callable[[Any], object], layers: Iterable[object]) -> None:
    for layer in layers:
        work(layer)


def _coded(keep: Booleans) -> RiceRow:
    return RiceRow.encode(pack(keep), keep.size)


def _decoded(row: RiceRow) -> Booleans:
    return _unpacked(replace(row).bits)  # a copy of the row, which has not been decoded yet


def _unpacked(bits: Bits) -> Booleans:
    return bits_between(bits, 0, 8 * len(bits))


def _sizes(row: str, what: str, ours: float, floor: float, goal: float) -> Line:
    return Line(row, what, ours / 1e6, floor / 1e6, "MB", ours / floor, goal, sign="%")


def _rows(mask: ticketkit.Mask) -> list[Bits]:
    return [mask.packed(name).bits for name in mask]


def _less_header(data: bytes) -> int:
    return len(data) - 8 - int.from_bytes(data[:8], "little")


def _entropy(mask: ticketkit.Mask) -> float:
    """Bytes: the sum over layers of H(share kept) · weights."""
    entries = [mask.packed(name) for name in mask]
    return sum(entry.size * _binary(entry.kept / entry.size) for entry in entries) / 8


def _binary(share: float) -> float:
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p)
