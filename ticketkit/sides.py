"""The two sides of a comparison: the networks that were measured, and those they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ticketkit.errors import InputError, UsageError, printable, some
from ticketkit.origins import EVALUATE, PRETRAIN, TRANSFER, Pretrained, pretrained_of
from ticketkit.records import Record, record_of
from ticketkit.resultfolders import Document, Found, read_results

_T = TypeVar("_T")
_NOTED = 20
"""Of how many files it is told that they were passed over: a folder may have thousands."""


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
    _check_apart(a.documents, b.documents)
    notes = [*a.notes, *b.notes]
    pretrained = [each for each in (*a.documents, *b.documents) if _schema(each) == PRETRAIN]
    networks = _each(lambda each: pretrained_of(each.content), pretrained, notes)
    ours, theirs = _side(one, a, notes), _side(other, b, notes)
    left = len(notes) - _NOTED
    more = [f"passed over: {left:,} more"] if left > 0 else []
    return ours, theirs, networks, notes[:_NOTED] + more


def _check_apart(ours: Iterable[Document], theirs: Iterable[Document]) -> None:
    here = {Path(document.path).resolve() for document in ours}
    for document in theirs:
        if Path(document.path).resolve() in here:
            raise UsageError(
                f"{printable(document.path)} is on both sides: give each side files of its own"
            )


def _schema(document: Document) -> object:
    return document.content.get("schema")


def _side(path: Path, found: Found, notes: list[str]) -> Side:
    def record(document: Document) -> Record:
        schema = _schema(document)
        if schema not in (TRANSFER, EVALUATE):
            shown = printable(repr(schema), 80)
            raise ValueError(f"expected the schema {TRANSFER} or {EVALUATE}, found {shown}")
        return record_of(document.path, document.content)

    others = [each for each in found.documents if _schema(each) != PRETRAIN]
    passed = list[str]()
    records = _each(record, others, passed)
    notes += passed
    if not records:
        why = f" ({some([*found.notes, *passed], 3)})" if found.notes or passed else ""
        shown = printable(str(path))
        raise InputError(f"{shown}: no result of transfer or evaluate to compare{why}")
    return Side(path, records)


def _each(
    read: Callable[[Document], _T], documents: Iterable[Document], notes: list[str]
) -> list[_T]:
    """What each document says, but those that are malformed: they are noted."""
    found = []
    for document in documents:
        shown = printable(document.path)
        try:
            found.append(read(document))
        except KeyError as error:
            notes.append(f"passed over: {shown}: no field {printable(str(error))}")
        except (ValueError, OverflowError) as error:
            notes.append(f"passed over: {shown}: {error}")
    return found
