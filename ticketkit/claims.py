"""How much a legacy file of torch.save claims to hold, told before torch allocates it."""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ticketkit.archive import pickles_of
from ticketkit.errors import CheckpointError, printable

_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


def check_claims(path: Path) -> None:
    """Refuse a legacy file whose storages claim more numbers than the file has bytes.

    torch.load makes room for a storage where the pickle names it, long before its bytes are read;
    once, however many tensors are views of it. An `UnpicklingError`, as torch raises it, for what
    is named in another way than torch.save does.
    """
    shown, size = printable(str(path)), path.stat().st_size
    seen: set[str] = set()
    claimed = 0
    for key, length in _storages(path):
        if key is None or length is None:
            raise pickle.UnpicklingError("it names a storage as torch.save never does")
        claimed += 0 if key in seen else max(0, length)
        seen.add(key)
        if claimed > size:
            raise CheckpointError(
                f"{shown}: its storages claim {claimed:,} numbers or more, but the file has "
                f"{size:,} bytes"
            )


def _storages(path: Path) -> Iterator[tuple[str | None, int | None]]:
    """The key and the length of every storage that a file names; None where they are not seen.

    What is no pickle ends the list: torch, which reads it alike, tells that.
    """
    broken = (ValueError, OverflowError, MemoryError, IndexError, KeyError)
    with contextlib.suppress(*broken), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in damaged text
        for pickled in pickles_of(path):
            yield from _storages_in(pickled)


def _storages_in(file: IO[bytes]) -> Iterator[tuple[str | None, int | None]]:
    """A storage's name is ("storage", class, key, place, length, None), written in this order."""
    recent: list[tuple[str, Any]] = [("", None)] * 5
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in _PUTS:
            memo[int(str(argument))] = recent[-1][1]
            continue
        value = memo.get(int(str(argument))) if opcode.name in _GETS else argument
        if opcode.name in ("BINPERSID", "PERSID"):
            (_, key), _, (number, length), (none, _), (end, _) = recent
            plain = number in _NUMBERS and (none, end) == ("NONE", "TUPLE")
            yield (key, length) if plain and isinstance(key, str) else (None, None)
        recent = [*recent[1:], (opcode.name, value)]
