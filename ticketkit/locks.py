"""A place for an output: held against other runs, by a lock in a file beside it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ticketkit.errors import OutputError, printable

try:
    import fcntl
except ImportError:  # Windows has no flock: outputs are still atomic, two runs are not told apart
    fcntl = None  # type: ignore[assignment]


def beside(path: Path, what: str) -> Path:
    """A hidden file beside `path`, under a name that no file system finds too long."""
    name = os.fsencode(path.name)
    short = path.name if len(name) <= 200 else hashlib.sha256(name).hexdigest()
    return path.with_name(f".{short}.ticketkit-{what}")


@contextlib.contextmanager
def locked(lock: Path, path: Path) -> Iterator[None]:
    """Hold the lock of `path` in the block; an `OutputError` where another run holds it."""
    file = None
    try:
        while file is None:
            file = _lock(lock, path)
        yield
    finally:
        if file is not None:
            if fcntl is None:  # Windows removes no open file
                file.close()
            with contextlib.suppress(OSError):
                lock.unlink()
            file.close()


def _lock(lock: Path, path: Path) -> IO[bytes] | None:
    """The lock, held and with our name in it; None where its last holder removed it just now."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        if not _flock(file):
            with file:
                holder = _holder(file.read(200))
            raise OutputError(f"{printable(str(path))}: another run is writing it{holder}")
        if not same_file(lock, os.fstat(descriptor)):
            file.close()
            return None
    except OSError as error:
        raise OutputError(write_failure(path, error)) from error
    with contextlib.suppress(OSError):  # a full disk locks all the same
        file.truncate(0)
        file.write(f"ticketkit pid {os.getpid()} on {socket.gethostname()}\n".encode())
    return file


def _flock(file: IO[bytes]) -> bool:
    """Lock the file; false where another run holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: the later of two runs gets its way
        return True
    return True


def same_file(path: Path, found: os.stat_result) -> bool:
    """Whether this is what stands at `path`."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), found)
    return False


def _holder(head: bytes) -> str:
    if not head.startswith(b"ticketkit pid "):
        return ""
    return f" ({printable(head.splitlines()[0].decode(errors='replace'))})"


def write_failure(path: Path, error: OSError, size: int | None = None) -> str:
    """Why `path` was not written."""
    known = {errno.ENOENT: "no such folder", errno.ENOTDIR: "no such folder"}
    reason = known.get(error.errno or 0) or error.strerror or str(error)
    needed = "" if size is None else f" ({size:,} bytes are needed)"
    return f"{printable(str(path))}: not written: {reason}{needed}; what was there is untouched"
