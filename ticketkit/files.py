"""Files: outputs that appear whole or not at all, and digests."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ticketkit.errors import InputError, OutputError, printable
from ticketkit.locks import beside, locked, same_file, write_failure


def sha256(*pieces: bytes | memoryview) -> str:
    """The hexadecimal SHA-256 of the pieces, one after the other."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def check_input(path: Path) -> int:
    """The bytes in a regular, readable, non-empty file; an `InputError` for anything else."""
    shown = printable(str(path))
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise InputError(f"{shown}: {_reason(error)}") from None
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{shown}: a folder, where a file was expected")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{shown}: not a regular file (a pipe or a device)")
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{shown}: {_reason(error)}") from None
    if found.st_size == 0:
        raise InputError(f"{shown}: empty file, 0 bytes")
    return found.st_size


class Output:
    """A file that will stand at `path` once it is whole; made by `reserve`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = beside(path, "partial")
        self._written: os.stat_result | None = None

    @contextlib.contextmanager
    def writing(self, size: int) -> Iterator[IO[bytes]]:
        """The file to write, of about `size` bytes."""
        try:
            self._partial.unlink(missing_ok=True)  # left by a killed run
            with self._partial.open("x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                self._written = os.fstat(file.fileno())
        except OSError as error:
            raise OutputError(write_failure(self.path, error, size)) from error

    def place(self) -> None:
        """Move what was written, if anything was, to its place; durably."""
        if self._written is None:
            return
        if not same_file(self._partial, self._written):  # on a file system without locks
            raise OutputError(f"{printable(str(self.path))}: another run is writing it")
        try:
            self._partial.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise OutputError(write_failure(self.path, error)) from error

    def drop(self) -> None:
        """Remove what has not been moved to its place."""
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)


@contextlib.contextmanager
def reserve(path: Path) -> Iterator[Output]:
    """Hold `path` against other runs; what was written stands there when the block has ended.

    An error inside the block leaves what stood at `path` untouched. The lock is a file beside it,
    which the system lets go of when its holder dies; the next run takes over what was left, so a
    killed run leaves nothing to clean up.
    """
    path = target_of(path)
    with locked(beside(path, "lock"), path):
        output = Output(path)
        try:
            yield output
            output.place()
        finally:
            output.drop()


def target_of(path: Path) -> Path:
    """The file that a write to `path` replaces: behind a symbolic link, the file that it names.

    An `OutputError` where that is a folder or a device.
    """
    try:
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path
    except OSError as error:
        raise OutputError(write_failure(path, error)) from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise OutputError(f"{printable(str(path))}: {what}, where a file is to be written")
    return path


def _reason(error: OSError | ValueError) -> str:
    known = {errno.ENOENT: "no such file", errno.EACCES: "not readable (permission denied)"}
    number = getattr(error, "errno", None)
    return known.get(number or 0) or getattr(error, "strerror", None) or str(error)


def sync_folder(folder: Path) -> None:
    """Make what was moved into a folder durable."""
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
