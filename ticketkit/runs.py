"""A run: a folder of stages, each whole or not there, in which a killed command goes on.

    run.json            the recipe, its SHA-256, the environment
    events.jsonl        what happened, a JSON object a line
    step-000123/        a stage: files, and a manifest that tells whether they are whole
    step-000124.partial/  a stage that was being written; removed when the run is opened
    step-000122.bad/    a stage that was damaged after it had been written; for its owner to look at

Every write can be cut off at any point. Nothing is lost but what was being written.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ticketkit.errors import OutputError, UsageError, is_stop, printable, some
from ticketkit.locks import beside, locked, write_failure
from ticketkit.manifests import is_stage_name
from ticketkit.runrecord import RECORD, check_record, digest_of_recipe, write_record
from ticketkit.stages import Run

_NOWHERE: Mapping[str, Any] = MappingProxyType({})


def default_run(command: str, recipe: Mapping[str, Any]) -> Path:
    """Where a command's run goes if nobody says: named by its content, in the current folder."""
    return Path("runs") / f"{command}-{digest_of_recipe(recipe)[:12]}"


@contextlib.contextmanager
def open_run(
    path: Path,
    recipe: Mapping[str, Any],
    *,
    resume: bool,
    environment: Mapping[str, Any] = _NOWHERE,
) -> Iterator[Run]:
    """A run in the folder `path`, new or gone on with, and held against others in the block.

    With `resume`, what is there goes on, and where nothing is there a new one begins: a scheduler
    can give the same command line each time. A `UsageError`: something is there and `resume` is
    not set, it is no run, or its recipe is another. An `OutputError`: another process holds it, or
    it cannot be written. An `InputError`: its `run.json` is damaged.
    """
    _check_folder(path)
    digest = digest_of_recipe(recipe)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(write_failure(path, error)) from error
    with locked(_lock_of(path), path):
        notes = _begin(path, recipe, environment, resume)
        try:
            run = Run(path, digest, notes)
        except OSError as error:
            raise OutputError(write_failure(path, error)) from error
        with contextlib.closing(run), _telling_of(path):
            yield run


@contextlib.contextmanager
def _telling_of(path: Path) -> Iterator[None]:
    """Tell whoever stops the work that it can go on."""
    try:
        yield
    except BaseException as error:
        if is_stop(error):
            where = printable(str(path))
            error.add_note(f"what was done is saved in {where}; --resume goes on from there")
        raise


def check_run(path: Path, *, resume: bool) -> None:
    """Raise, before any work is done, what `open_run` would raise whatever the recipe is."""
    _check_folder(path)
    if (path / RECORD).exists():
        with locked(_lock_of(path), path):
            _check_new(path, resume)


def _begin(
    path: Path, recipe: Mapping[str, Any], environment: Mapping[str, Any], resume: bool
) -> list[str]:
    """Write the record of a new run, or check that of an old one and clear up after it."""
    if not (path / RECORD).exists():
        write_record(path, recipe, environment)
        return []
    _check_new(path, resume)
    notes = check_record(path, recipe, environment)
    for left in path.glob("*.partial"):
        if is_stage_name(left.stem):
            shutil.rmtree(left, ignore_errors=True)
    return notes


def _check_new(path: Path, resume: bool) -> None:
    if not resume:
        raise UsageError(
            f"already there: {printable(str(path))}; --resume goes on with it, --run names another"
        )


def _check_folder(path: Path) -> None:
    """Refuse what is no folder, and a folder that holds other things than a run."""
    shown = printable(str(path))
    if path.exists() and not path.is_dir():
        raise OutputError(f"{shown}: a file, where a folder is to be written")
    try:
        names = {each.name for each in path.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(write_failure(path, error)) from error
    ours = {_lock_of(path).name, beside(path / RECORD, "partial").name}
    if RECORD not in names and (others := names - ours):
        raise UsageError(
            f"{shown}: no run, but a folder that holds {some(sorted(others))}; --run names another"
        )


def _lock_of(path: Path) -> Path:
    return beside(path / RECORD, "lock")
