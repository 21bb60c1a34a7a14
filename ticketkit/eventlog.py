"""The events of a run: one JSON line each, in a file that is only ever added to or cut."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from ticketkit.errors import OutputError
from ticketkit.locks import write_failure


class EventLog:
    """An open file of events; each is in it when `add` returns, whatever becomes of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] = path.open("ab", buffering=0)
        whole = path.read_bytes().rfind(b"\n") + 1  # a killed process leaves half a line
        self._file.truncate(whole)

    def add(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Append an event, or raise an `OutputError` and leave the file as it was.

        A number that is not finite, which JSON cannot hold, becomes null.
        """
        line = _line(kind, fields)
        end = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(line)
            if written != len(line):  # a disk that is nearly full takes a part
                self._file.write(line[written:])
        except OSError as error:
            self._file.truncate(end)
            raise OutputError(write_failure(self.path, error, len(line))) from error

    def sync(self) -> None:
        """Make what was added durable."""
        os.fsync(self._file.fileno())

    def cut(self, kind: str, fields: Iterable[Mapping[str, Any]]) -> None:
        """Remove what comes after the last event that is one of these; nothing, where none is."""
        last, end, position = {_line(kind, each) for each in fields}, 0, 0
        with self.path.open("rb") as lines:
            for line in lines:
                position += len(line)
                if line in last:
                    end = position
        if end:
            self.empty(end)

    def empty(self, size: int = 0) -> None:
        """Remove all events, but for the first `size` bytes."""
        try:
            self._file.truncate(size)
            self.sync()
        except OSError as error:
            raise OutputError(write_failure(self.path, error)) from error

    def close(self) -> None:
        """Add no more."""
        self._file.close()


def _line(kind: str, fields: Mapping[str, Any]) -> bytes:
    return json.dumps(_finite({"event": kind, **fields}), allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
