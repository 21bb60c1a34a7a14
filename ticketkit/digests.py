"""The digest of weights, or of a mask: the same for the same, in whatever form they lie."""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ticketkit.mask import Mask
from ticketkit.progress import stage

# Bytes per step: between two of them a digest can be stopped, and tells how far it is.
_STEP = 2**24
_STOPPED: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar(
    "ticketkit.digests", default=None
)


def digest_of(
    names: list[str],
    dtypes: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    raw: Callable[[str], np.ndarray[Any, np.dtype[Any]]],
    size: int = 0,
) -> str:
    """SHA-256 over each tensor's name, dtype, shape and raw bytes, little-endian.

    `size` is how many bytes these are, for who watches the progress.
    """
    digest = hashlib.sha256()
    with stage("hashing", size) as advance:
        for name in names:
            digest.update(f"{name}\0{dtypes[name]}\0{list(shapes[name])}\0".encode())
            for piece in _pieces(raw(name)):
                digest.update(piece)
                advance(len(piece))
    return digest.hexdigest()


def digest_of_mask(mask: Mask) -> str:
    """SHA-256 over each parameter's name, shape and bits, one a weight."""
    dtypes = dict.fromkeys(mask, "BOOL")
    return digest_of(list(mask), dtypes, mask.shapes, lambda name: mask.packed(name).bits)


@contextlib.contextmanager
def in_background(digest: Callable[[], str] | None) -> Iterator[Callable[[], str | None]]:
    """Compute a digest while the block runs; it yields a call that waits for the digest.

    Hashing leaves Python's other threads free. Where the block fails, hashing is stopped.
    """
    if digest is None:
        yield lambda: None
        return
    stop = threading.Event()
    context = contextvars.copy_context()
    context.run(_STOPPED.set, stop)
    with ThreadPoolExecutor(1, "ticketkit-digest") as executor:
        future: Future[str] = executor.submit(context.run, digest)
        try:
            yield future.result
        finally:
            stop.set()


def _pieces(raw: np.ndarray[Any, np.dtype[Any]]) -> Iterator[memoryview]:
    data = np.ascontiguousarray(raw).reshape(-1).view(np.uint8).data
    stop = _STOPPED.get()
    for start in range(0, len(data), _STEP):
        if stop is not None and stop.is_set():
            return  # nobody waits for this digest any more
        yield data[start : start + _STEP]
