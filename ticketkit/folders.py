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
from ticketkit.locks import beside, locked, write_failure


class OutputFolder:
    """A folder that will stand at `path` once its files are whole; made by `reserve_folder`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = beside(path, "partial")
        self._names: list[str] = []
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
        except OSError as error:
            raise OutputError(write_failure(self.path / name, error, size)) from error
        self._names.append(name)

    def place(self) -> None:
        """Move what was written to its place, durably.

        Into a folder that is there already the files move one by one. The last one written, which
        tells of the others, goes first and comes last: a folder without it is never taken as whole.
        """
        if not self._names:
            return
        try:
            for sync in self._syncs:
                sync.result()
            sync_folder(self._partial)
            if self.path.is_dir():
                (self.path / self._names[-1]).unlink(missing_ok=True)
                for name in self._names:
                    (self._partial / name).replace(self.path / name)
                sync_folder(self.path)
            else:
                self._partial.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
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
        shutil.rmtree(beside(path, "partial"), ignore_errors=True)  # left by a killed run
        output = OutputFolder(path)
        try:
            yield output
            output.place()
        finally:
            output.drop()


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def folder_of(path: Path) -> Path:
    """The folder that a write to `path` fills; an `OutputError` where something else is there."""
    resolved = path.resolve()  # behind a symbolic link, and with a name where it is `.`
    if resolved.exists() and not resolved.is_dir():
        raise OutputError(f"{printable(str(path))}: a file, where a folder is to be written")
    return resolved
