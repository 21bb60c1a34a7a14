"""Files: outputs that appear whole or not at all, and digests."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ticketkit.errors import InputError, OutputError, printable

try:
    import fcntl
except ImportError:  # Windows has no flock: outputs are still atomic, two runs are not told apart
    fcntl = None  # type: ignore[assignment]


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
    """A file that will replace `path` once it is whole; made by `reserve`."""

    def __init__(self, path: Path, partial: Path, file: IO[bytes]) -> None:
        self.path = path
        self._partial = partial
        self._file = file

    @contextlib.contextmanager
    def writing(self, size: int) -> Iterator[IO[bytes]]:
        """The file to write, of about `size` bytes; leaving the block puts it in place, durably.

        An error inside the block leaves what stood at `path` untouched.
        """
        try:
            self._file.truncate(0)
            self._file.seek(0)
            yield self._file
            self._file.flush()
            os.fsync(self._file.fileno())
            self._partial.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise OutputError(_write_failure(self.path, error, size)) from error


@contextlib.contextmanager
def reserve(path: Path) -> Iterator[Output]:
    """Hold `path` against other runs until the block ends; nothing appears unless it was written.

    The temporary file beside the target is its own lock: the system lets go of it when its holder
    dies, and the next run takes over what was left, so a killed run leaves nothing to clean up.
    """
    path = _target(path)
    partial = path.with_name(f".{path.name[:200]}.ticketkit-partial")
    try:
        file = _lock(partial, path)
    except OSError as error:
        raise OutputError(_write_failure(path, error)) from error
    try:
        yield Output(path, partial, file)
    finally:
        # Ours, unless `writing` has already moved it to its place.
        with contextlib.suppress(OSError):
            if partial.stat().st_ino == os.fstat(file.fileno()).st_ino:
                partial.unlink()
        with contextlib.suppress(OSError):
            file.close()


def _target(path: Path) -> Path:
    """The file that a write to `path` should replace: behind a symbolic link, the file it names."""
    return path.resolve() if path.is_symlink() else path


def _lock(partial: Path, path: Path) -> IO[bytes]:
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        file = os.fdopen(descriptor, "r+b")
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = file.read(200)
                file.close()
                raise OutputError(
                    f"{printable(str(path))}: another run is writing it{_holder(holder)}"
                ) from None
        # Its last holder may have moved the file into place between our open and our lock.
        with contextlib.suppress(OSError):
            if partial.stat().st_ino == os.fstat(descriptor).st_ino:
                file.truncate(0)
                file.write(f"ticketkit pid {os.getpid()} on {socket.gethostname()}\n".encode())
                file.flush()
                return file
        file.close()


def _holder(head: bytes) -> str:
    if not head.startswith(b"ticketkit pid "):
        return ""
    return f" ({printable(head.splitlines()[0].decode(errors='replace'))})"


def _reason(error: OSError | ValueError) -> str:
    known = {errno.ENOENT: "no such file", errno.EACCES: "not readable (permission denied)"}
    number = getattr(error, "errno", None)
    return known.get(number or 0) or getattr(error, "strerror", None) or str(error)


def _write_failure(path: Path, error: OSError, size: int | None = None) -> str:
    known = {errno.ENOENT: "no such folder", errno.ENOTDIR: "no such folder"}
    reason = known.get(error.errno or 0) or error.strerror or str(error)
    needed = "" if size is None else f" ({size:,} bytes are needed)"
    return f"{printable(str(path))}: not written: {reason}{needed}; what was there is untouched"


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
