"""The two sides of a comparison: the networks that were measured, and those they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ticketkit.errors import InputError, UsageError, printable, some
from ticketkit.records import (
    EVALUATE,
    PRETRAIN,
    TRANSFER,
    Pretrained,
    Record,
    pretrained_of,
    record_of,
)
from ticketkit.resultfiles import Found, read_results


@dataclass(frozen=True)
class Side:
    """The networks of one side that were measured on a task."""

    path: Path
    records: list[Record]


def read_sides(one: Path, other: Path) -> tuple[Side, Side, list[Pretrained], list[str]]:
    """Both sides, the pretrained networks among their results, and notes on what was passed over.

    An `InputError` where a side has no result, a `UsageError` where they share a file.
    """
    a, b = read_results(one), read_results(other)
    _check_apart(a, b)
    notes = [*a.notes, *b.notes]
    pretrained = [*_pretrained(a, notes), *_pretrained(b, notes)]
    known = {each.digest: each for each in pretrained}
    sides = (
        Side(path, _records(path, found, known, notes)) for path, found in ((one, a), (other, b))
    )
    return *sides, pretrained, notes  # type: ignore[return-value]  # two of them


def _check_apart(one: Found, other: Found) -> None:
    ours = {str(Path(document.path).resolve()) for document in one.documents}
    for document in other.documents:
        if str(Path(document.path).resolve()) in ours:
            raise UsageError(
                f"{printable(document.path)} is on both sides: give each side files of its own"
            )


def _pretrained(found: Found, notes: list[str]) -> list[Pretrained]:
    networks = []
    for document in found.documents:
        if document.content.get("schema") == PRETRAIN:
            try:
                networks.append(pretrained_of(document))
            except InputError as error:
                notes.append(f"passed over: {error}")
    return networks


def _records(
    path: Path, found: Found, known: Mapping[str, Pretrained], notes: list[str]
) -> list[Record]:
    records, before = [], len(notes)
    for document in found.documents:
        schema = document.content.get("schema")
        if schema == PRETRAIN:
            continue
        try:
            if schema not in (TRANSFER, EVALUATE):
                shown = f"{TRANSFER} or {EVALUATE}, found {printable(repr(schema), 80)}"
                raise InputError(f"{printable(document.path)}: expected the schema {shown}")
            records.append(record_of(document, known))
        except InputError as error:
            notes.append(f"passed over: {error}")
    if not records:
        why = [*found.notes, *notes[before:]]
        told = f" ({some(why, 3)})" if why else ""
        shown = printable(str(path))
        raise InputError(f"{shown}: no result of transfer or evaluate to compare{told}")
    return records
