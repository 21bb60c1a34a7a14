"""The digest of weights, and its computation beside other work."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ticketkit import digests
from ticketkit.digests import digest_of, in_background
from ticketkit.progress import listening


def test_it_is_the_sha256_of_names_dtypes_shapes_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_STEP", 7)
    raw: dict[str, Any] = {
        "a": np.arange(6, dtype=np.uint32).reshape(2, 3),
        "b": np.array(1, np.uint16),
    }
    found = digest_of(
        ["a", "b"], {"a": "F32", "b": "BF16"}, {"a": (2, 3), "b": ()}, raw.__getitem__
    )
    told = b"a\0F32\0[2, 3]\0" + raw["a"].tobytes() + b"b\0BF16\0[]\0" + raw["b"].tobytes()
    assert found == hashlib.sha256(told).hexdigest()


def test_in_the_background_it_is_the_same_and_tells_its_progress() -> None:
    raw = np.arange(2**20, dtype=np.uint8)
    told: list[int] = []

    def listener(what: str, total: int, unit: str) -> object:
        import contextlib

        assert (what, total, unit) == ("hashing", raw.nbytes, "B")
        return contextlib.nullcontext(told.append)

    def digest() -> str:
        return digest_of(["a"], {"a": "U8"}, {"a": raw.shape}, lambda _: raw, raw.nbytes)

    with listening(listener), in_background(digest) as found:  # type: ignore[arg-type]
        assert found() == digest()
    assert sum(told) >= raw.nbytes


def test_nothing_to_compute_is_none() -> None:
    with in_background(None) as found:
        assert found() is None


def test_an_error_comes_out_where_the_digest_is_asked_for() -> None:
    def fail() -> str:
        raise ZeroDivisionError

    with in_background(fail) as found, pytest.raises(ZeroDivisionError):
        found()


def fail_beside(digest: Callable[[], str], started: threading.Event) -> None:
    with in_background(digest):
        assert started.wait(10)
        raise ZeroDivisionError


def test_it_stops_where_the_work_beside_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_STEP", 1)
    raw, started = np.zeros(2**24, np.uint8), threading.Event()

    def slow(name: str) -> object:
        started.set()
        return raw

    def digest() -> str:
        return digest_of(["a"], {"a": "U8"}, {"a": raw.shape}, slow)  # type: ignore[arg-type]

    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        fail_beside(digest, started)
    assert time.monotonic() - begun < 5  # all of it takes far longer, byte by byte
    assert not [t for t in threading.enumerate() if t.name.startswith("ticketkit-digest")]
