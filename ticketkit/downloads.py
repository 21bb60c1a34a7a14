"""Data sets that torchvision fetches, whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from ticketkit.errors import OutputError, printable
from ticketkit.locks import beside, locked
from ticketkit.parts import Task
from ticketkit.places import data_folder


def download_set(
    task: Task, root: Path | None, names: Sequence[str], dataset: str, **options: Any
) -> None:
    """Have torchvision's class `dataset` download a task's data, unless all `names` are there.

    `names` are files or folders in the folder of all data, `root` or the user's cache. The data
    comes to its place when it is whole, with the archives that it was in. An `OutputError` where
    that fails.
    """
    folder = data_folder(root)
    if all((folder / name).exists() for name in names):
        return
    for name in names:
        if (whole := folder / Path(name).parts[0]).is_dir():
            raise OutputError(
                f"{task.name} could not be downloaded: {printable(str(whole))} is there already, "
                f"without {printable(name)}; --data names another folder"
            )
    place = folder / task.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(beside(place, "lock"), place), _emptied(beside(place, "download")) as partial:
            _fetch(dataset, partial, options)
            for entry in sorted(partial.iterdir()):
                entry.rename(folder / entry.name)
    except OutputError:
        raise
    except Exception as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the answer
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise OutputError(
            f"{task.name} could not be downloaded to {printable(str(folder))}: {reason}"
        ) from error


def _fetch(dataset: str, folder: Path, options: dict[str, Any]) -> None:
    import torchvision.datasets

    with warnings.catch_warnings(), _safe_archives():
        warnings.simplefilter("ignore")
        getattr(torchvision.datasets, dataset)(folder, download=True, **options)


@contextlib.contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A new folder for the block; one that a killed run left is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _safe_archives() -> Iterator[None]:
    """Let no archive write outside the folder that it is unpacked in."""
    before = vars(tarfile.TarFile).get("extraction_filter")
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before
