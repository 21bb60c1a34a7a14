"""The result documents in a folder of runs: found, read, and told of where they are passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ticketkit.errors import InputError, printable
from ticketkit.files import check_input
from ticketkit.manifests import Stage, fault_of_one
from ticketkit.outcomes import RESULT
from ticketkit.resultfile import DOCUMENT, read_result
from ticketkit.runrecord import RECORD

_LARGEST = 64 * 2**20  # bytes; a figure is some hundred


@dataclass(frozen=True)
class Document:
    """One result as a command wrote it, and the file that it stands in."""

    path: str
    content: dict[str, Any]


@dataclass
class Found:
    """What was read of a folder, and a sentence for each file that was passed over."""

    documents: list[Document] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_results(path: Path) -> Found:
    """The results of a run, of all runs and other JSON files in a folder, or in one file.

    What is hidden is passed over, and so are links, which are noted: they may lead to runs. An
    `InputError` where there is no such path.
    """
    found = Found()
    if not path.exists():
        raise InputError(f"{printable(str(path))}: no such file or folder")
    for file in _files(path, found.notes) if path.is_dir() else [path]:
        try:
            found.documents.append(_read(file))
        except InputError as error:
            found.notes.append(f"passed over: {error}")
    return found


def _files(folder: Path, notes: list[str]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        notes.append(f"passed over: {printable(str(error.filename))}: {error.strerror}")

    for where, folders, names in os.walk(folder, onerror=unreadable):
        if RECORD in names:
            folders.clear()
            yield from _result_of(Path(where), notes)
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = sorted(n for n in names if n.endswith(".json") and not n.startswith("."))
        paths = [Path(where, name) for name in (*folders, *files)]
        links = {path for path in paths if path.is_symlink()}
        notes += (
            f"passed over: {printable(str(path))}: a link, which is not followed"
            for path in sorted(links)
        )
        yield from (path for path in paths[len(folders) :] if path not in links)


def _result_of(run: Path, notes: list[str]) -> Iterator[Path]:
    """The result of a run; a draw has none, as a ticket is its outcome."""
    path = run / RESULT / DOCUMENT
    if path.is_file():
        if fault := fault_of_one(Stage(path.parent), path.name):
            notes.append(f"passed over: {printable(str(path))}: {printable(fault)}")
        else:
            yield path
    elif _command(run) != "prune":
        notes.append(f"passed over: {printable(str(run))}: a run that is not finished")


def _command(run: Path) -> object:
    try:
        recipe = _read(run / RECORD).content.get("recipe")
    except InputError:
        return None
    return recipe.get("command") if isinstance(recipe, dict) else None


def _read(path: Path) -> Document:
    shown = printable(str(path))
    if (size := check_input(path)) > _LARGEST:
        raise InputError(
            f"{shown}: expected a result of at most {_LARGEST:,} bytes, found {size:,}"
        )
    try:
        return Document(str(path), read_result(path))
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror or error}") from None
