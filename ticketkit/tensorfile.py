"""One safetensors file: checked, mapped into memory, and read without torch."""

from __future__ import annotations

import json
import math
import mmap
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ticketkit.archive import LONGEST_HEADER
from ticketkit.errors import CheckpointError, printable, some

if TYPE_CHECKING:
    import torch

# Names of dtypes in safetensors, and in torch.
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
    "C128": "complex128",
}
# The key of the metadata by which a ticket is known.
TICKET = "ticketkit"
_LONGEST_NAME = 512
_COMPLEX = ("C64", "C128")
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True)
class Entry:
    """One tensor of the file: where its bytes are, and what they mean."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class TensorFile:
    """A safetensors file, its tensors in the order in which their bytes lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.head, header = _read_header(path)
        self.metadata: dict[str, str] = header.pop("__metadata__", None) or {}
        base = len(self.head)
        found = {
            name: Entry(
                entry["dtype"],
                tuple(entry["shape"]),
                base + entry["data_offsets"][0],
                base + entry["data_offsets"][1],
            )
            for name, entry in header.items()
        }
        self.entries = dict(sorted(found.items(), key=lambda item: item[1].start))
        check_names(path, self.entries)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # What a plugin writes to a weight is its own copy, and in no digest and no output.
            self._copy = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def bytes_of(self, name: str) -> memoryview:
        """The raw bytes of a tensor, not copied."""
        entry = self.entries[name]
        return memoryview(self._map)[entry.start : entry.stop]

    def raw(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        """A tensor's bits as unsigned integers, in its shape, whatever its dtype.

        Complex numbers have a last axis of two; numbers narrower than a byte stay packed, in a row.
        """
        entry = self.entries[name]
        flat = np.frombuffer(self.bytes_of(name), np.uint8)
        shape = (*entry.shape, 2) if entry.dtype in _COMPLEX else entry.shape
        width, rest = divmod(len(flat), max(1, math.prod(shape)))
        if rest or width not in _UNSIGNED:
            return flat if len(flat) else flat.reshape(shape)
        return flat.view(_UNSIGNED[width]).reshape(shape)

    def tensor(self, name: str) -> torch.Tensor:
        """A tensor over the mapped bytes."""
        import torch

        entry = self.entries[name]
        dtype = getattr(torch, DTYPES.get(entry.dtype, ""), None)
        if dtype is None:
            raise CheckpointError(
                f"{printable(str(self.path))}: {printable(name)}: dtype {entry.dtype} is not "
                "supported"
            )
        if not math.prod(entry.shape):
            return torch.empty(entry.shape, dtype=dtype)
        data: Any = self._copy
        start = entry.start
        if start % dtype.itemsize:  # readable all the same, at the cost of a copy
            data, start = bytearray(self.bytes_of(name)), 0
        count = math.prod(entry.shape)
        return torch.frombuffer(data, dtype=dtype, count=count, offset=start).reshape(entry.shape)


def itemsize(dtype: str) -> int:
    """Bytes of one number of a dtype, by its name in safetensors: those of `DTYPES`."""
    bits = re.search(r"\d+", dtype)
    return int(bits[0]) // 8 if bits else 1


def in_order(dtypes: Mapping[str, str]) -> list[str]:
    """Names of tensors as they are laid out: wider dtypes first, so that all are aligned."""
    return sorted(dtypes, key=lambda name: (-itemsize(dtypes[name]), name))


def head_of(
    tensors: Mapping[str, tuple[str, tuple[int, ...], int]], metadata: Mapping[str, str]
) -> bytes:
    """The head of a safetensors file: before the bytes of these tensors, in this order.

    Of each tensor its dtype, shape and number of bytes.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for name, (dtype, shape, size) in tensors.items():
        offsets = [start, start + size]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        start += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def check_names(path: Path, names: Iterable[str]) -> None:
    """Refuse tensor names that are not printable text of at most 512 characters."""
    bad = [
        name
        for name in names
        if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable()
    ]
    if bad:
        shown = some((repr(name)[:80] for name in bad), 3)
        raise CheckpointError(
            f"{printable(str(path))}: expected tensor names of printable text, at most "
            f"{_LONGEST_NAME} characters; found {shown}"
        )


def _read_header(path: Path) -> tuple[bytes, dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    shown = printable(str(path))
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = int.from_bytes(head, "little")
        if length > LONGEST_HEADER:
            raise CheckpointError(f"{shown}: malformed safetensors: the header is over 100 MiB")
        head += file.read(min(length, size))
    header = json_object(f"{shown}: malformed safetensors: the header", head[8:])
    if _has_offsets(header.get("__metadata__")):
        raise CheckpointError(f"{shown}: malformed safetensors: a tensor named '__metadata__'")
    _check_length(shown, head, header, size)
    try:
        with safe_open(str(path), framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{shown}: malformed safetensors: {printable(str(error))}"  # it quotes the file
        ) from None
    return head, header


def json_object(where: str, text: bytes) -> dict[str, Any]:
    """The JSON object in a file's bytes; a `CheckpointError` where it is none, or has a key twice.

    `where` opens the error: the file, and which part of it these bytes are.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            twice = sorted(name for name, count in counts.items() if count > 1)
            raise CheckpointError(f"{where} has twice: {some(twice)}")
        return names

    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{where} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{where} is no JSON object")
    return found


def _check_length(shown: str, head: bytes, header: dict[str, Any], size: int) -> None:
    """Tell a file that was cut short from other damage, which safetensors finds."""
    ends = [e["data_offsets"][1] for e in header.values() if _has_offsets(e)]
    expected = len(head) + max((end for end in ends if isinstance(end, int)), default=0)
    if size < expected:
        raise CheckpointError(
            f"{shown}: truncated: expected {expected:,} bytes, found {size:,}; fetch it again"
        )


def _has_offsets(entry: Any) -> bool:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    return isinstance(offsets, list) and len(offsets) == 2
