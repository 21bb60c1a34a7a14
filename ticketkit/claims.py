"""How much a legacy file of torch.save claims to hold, told before torch allocates it."""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ticketkit.archive import pickles_of
from ticketkit.errors import CheckpointError, printable

_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG")
_NAMED = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")


def check_claims(path: Path) -> None:
    """Refuse a legacy file whose storages claim more numbers than the file has bytes.

    torch.load makes room for a storage where the pickle names it, long before its bytes are read.
    An `UnpicklingError`, as torch raises it, for what is named in another way than torch.save does.
    """
    shown, size = printable(str(path)), path.stat().st_size
    claimed = 0
    for length in _lengths(path):
        if length is None:
            raise pickle.UnpicklingError("it names a storage as torch.save never does")
        claimed += max(0, length)
        if claimed > size:
            raise CheckpointError(
                f"{shown}: its storages claim {claimed:,} numbers or more, but the file has "
                f"{size:,} bytes"
            )


def _lengths(path: Path) -> Iterator[int | None]:
    """The length of every storage that a file names; None where it is not to be seen.

    What is no pickle ends the list: torch, which reads it alike, tells that.
    """
    broken = (ValueError, OverflowError, MemoryError, IndexError)
    with contextlib.suppress(*broken), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in damaged text
        for pickled in pickles_of(path):
            yield from _lengths_in(pickled)


def _lengths_in(file: IO[bytes]) -> Iterator[int | None]:
    """A storage's name is ("storage", class, key, place, length, None): its length is written just
    before the None that ends it."""
    recent: list[tuple[str, object]] = [("", None)] * 3
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("BINPERSID", "PERSID"):
            (_, length), (none, _), (end, _) = recent
            plain = isinstance(length, int) and (none, end) == ("NONE", "TUPLE")
            yield length if plain and isinstance(length, int) else None
        elif opcode.name not in _NAMED:
            number = argument if opcode.name in _NUMBERS else None
            recent = [*recent[1:], (opcode.name, number)]
