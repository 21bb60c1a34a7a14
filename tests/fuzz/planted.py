"""Readers with a fault each, which the harness must find. They are well on an unharmed sample."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.fuzz.corpus import Sample
from ticketkit.errors import CheckpointError, PluginError

FINE = Sample("x", {"x": bytes(range(100))})
_LARGE = 3 * 10**8


def well(path: Path) -> None:
    """Refuses every damaged file as a reader should."""
    if _is_damaged(path):
        raise CheckpointError(f"{path}: damaged")


def raises(path: Path) -> None:
    """An error that is none of ours."""
    if _is_damaged(path):
        raise KeyError("x")


def exits(path: Path) -> None:
    """No Exception at all."""
    if _is_damaged(path):
        raise SystemExit


def blames(path: Path) -> None:
    """An error of ours, but not of input."""
    if _is_damaged(path):
        raise PluginError(f"{path}: damaged")


def babbles(path: Path) -> None:
    """Two lines, of which the second is the file's own."""
    if _is_damaged(path):
        raise CheckpointError(f"{path}: damaged\n\x1b[31m")


def hides(path: Path) -> None:
    """A message that does not say which file."""
    if _is_damaged(path):
        raise CheckpointError("damaged")


def advises(path: Path) -> None:
    """The advice that torch gives."""
    if _is_damaged(path):
        raise CheckpointError(f"{path}: set weights_only=False")


def litters(path: Path) -> None:
    """A file left behind."""
    if _is_damaged(path):
        path.with_name("canary").mkdir()


def swells(path: Path) -> None:
    """Memory that is given back before anyone else looks."""
    if _is_damaged(path):
        bytearray(b"x" * _LARGE)


def bursts(path: Path) -> None:
    """Memory without end."""
    held = []
    while _is_damaged(path):
        held.append(b"x" * 10**7)
        time.sleep(0.01)


def hangs(path: Path) -> None:
    """A loop that does not end."""
    while _is_damaged(path):
        pass


def crashes(path: Path) -> None:
    """The end of the process."""
    if _is_damaged(path):
        os.abort()


def _is_damaged(path: Path) -> bool:
    return path.read_bytes() != FINE.files["x"]
