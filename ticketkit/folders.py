"""Folders of outputs, which appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from ticketkit.errors import OutputError, printable
from ticketkit.files import sync_folder
from ticketkit.locks import beside, locked, same_file, write_failure


class OutputFolder:
    """A folder that will stand at `path` once its files are whole; made by `reserve_folder`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = beside(path, "partial")
        self._written: dict[str, os.stat_result] = {}
        self._executor = ThreadPoolExecutor(1, "ticketkit-sync")
        self._syncs: list[Future[None]] = []

    @contextlib.contextmanager
    def writing(self, name: str, size: int) -> Iterator[IO[bytes]]:
        """The file of this name in the folder to write, of about `size` bytes."""
        try:
            self._partial.mkdir(exist_ok=True)
            with (self._partial / name).open("xb") as file:
                yield file
                file.flush()
                # The disk works on this file while the next one is made.
                self._syncs.append(self._executor.submit(_sync, os.dup(file.fileno())))
                self._written[name] = os.fstat(file.fileno())
        except OSError as error:
            raise OutputError(write_failure(self.path / name, error, size)) from error

    def place(self) -> None:
        """Move the folder to its place, durably.

        What is there already steps aside and, but for files that were written anew, moves in
        again. A run that is killed between leaves one of the two whole; the next one tidies up.
        """
        if not self._written:
            return
        try:
            for sync in self._syncs:
                sync.result()
            if any(not same_file(self._partial / n, found) for n, found in self._written.items()):
                raise OutputError(f"{printable(str(self.path))}: another run is writing it")
            sync_folder(self._partial)
            if self.path.is_dir():
                self.path.replace(_old(self.path))
            self._partial.replace(self.path)
            sync_folder(self.path.parent)
            _settle(self.path)
        except OSError as error:
            _settle(self.path)
            raise OutputError(write_failure(self.path, error)) from error

    def drop(self) -> None:
        """Remove what has not been moved to its place."""
        self._executor.shutdown()
        shutil.rmtree(self._partial, ignore_errors=True)


@contextlib.contextmanager
def reserve_folder(path: Path) -> Iterator[OutputFolder]:
    """Hold `path` against other runs; what was written stands there when the block has ended.

    Other files of a folder that is there already stay. An error inside the block leaves all of it
    untouched.
    """
    path = folder_of(path)
    with locked(beside(path, "lock"), path):
        _settle(path)
        shutil.rmtree(beside(path, "partial"), ignore_errors=True)  # left by a killed run
        output = OutputFolder(path)
        try:
            yield output
            output.place()
        finally:
            output.drop()


def _old(path: Path) -> Path:
    """Where a folder steps aside while another takes its place."""
    return beside(path, "old")


def _settle(path: Path) -> None:
    """Bring a folder that stepped aside back, or what the new one in its place has no file for."""
    old = _old(path)
    if not old.is_dir():
        return
    if not path.exists():
        old.replace(path)
        return
    for each in old.iterdir():
        if not (path / each.name).exists():
            each.replace(path / each.name)
    shutil.rmtree(old, ignore_errors=True)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def folder_of(path: Path) -> Path:
    """The folder that a write to `path` fills; an `OutputError` where something else is there."""
    resolved = path.resolve()  # behind a symbolic link
    if Path.cwd().is_relative_to(resolved):  # the root of all folders too
        raise OutputError(
            f"{printable(str(path))}: the current folder, or one that holds it; name another"
        )
    if resolved.exists() and not resolved.is_dir():
        raise OutputError(f"{printable(str(path))}: a file, where a folder is to be written")
    return resolved
