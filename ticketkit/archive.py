"""What a checkpoint file is, and whether it is safe to open: all before torch is imported.

torch.load inflates compressed archives, runs what a pickle asks for unless it is told not to, and
explains none of its failures in the words of the person who downloaded the file.
"""

from __future__ import annotations

import pickletools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ticketkit.errors import CheckpointError, printable, some
from ticketkit.files import check_input

_MOST_MEMBERS = 200_000
_LONGEST_ENTRY = 2048
_HEADS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file; fetch it with 'git lfs pull'",
    b"<!doctype": "an HTML page, not a checkpoint; the download was answered with a web page",
    b"<html": "an HTML page, not a checkpoint; the download was answered with a web page",
}


def form_of(path: Path) -> str:
    """`"safetensors"`, `"zip"` or `"legacy"`; a `CheckpointError` for anything else."""
    size = check_input(path)
    shown = printable(str(path))
    with path.open("rb") as file:
        head = file.read(512)
    for start, what in _HEADS.items():
        if head.lstrip().lower().startswith(start):
            raise CheckpointError(f"{shown}: {what}")
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path, size)
        return "zip"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "legacy"
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{":
        if length + 8 > size:
            raise CheckpointError(
                f"{shown}: truncated: expected {length + 8} bytes or more, found {size}"
            )
        return "safetensors"
    raise CheckpointError(
        f"{shown}: not a checkpoint: neither safetensors nor a file of torch.save (it starts with "
        f"{head[:8]!r})"
    )


def globals_of(path: Path) -> list[str]:
    """The names of code that the pickles of a file ask for, read without running them."""
    found: set[str] = set()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".pkl"):
                    with archive.open(member) as file:
                        found.update(_globals(file))
    else:
        with path.open("rb") as file:
            while file.peek(1)[:1] == b"\x80":  # a legacy file is several pickles, then raw data
                found.update(_globals(file))
    return sorted(found)


def _check_zip(path: Path, size: int) -> None:
    shown = printable(str(path))
    _check_directory(path, size)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{shown}: truncated or damaged: the zip archive has no directory ({error}); its "
            f"{size:,} bytes are not all of it, fetch it again"
        ) from None
    except (ValueError, OSError, NotImplementedError, RecursionError) as error:
        raise CheckpointError(f"{shown}: not a readable zip archive: {error}") from None
    packed = [m.filename for m in members if m.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise CheckpointError(
            f"{shown}: compressed members, which torch.save never writes: {some(packed)}"
        )
    _check_places(shown, members, size)
    roots = {m.filename.partition("/")[0] for m in members}
    stray = [m.filename for m in members if _leaves(m.filename)]
    if stray or len(roots) != 1:
        raise CheckpointError(
            f"{shown}: members outside one folder: {some(stray or sorted(roots))}"
        )
    if not any(m.filename.endswith("/data.pkl") for m in members):
        raise CheckpointError(f"{shown}: a zip archive, but not one of torch.save: no data.pkl")


def _check_directory(path: Path, size: int) -> None:
    """Refuse a directory of a million entries before one object is made for each."""
    with path.open("rb") as file:
        file.seek(max(0, size - 2**17))
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    members, length = (
        struct.unpack_from("<HI", tail, end + 10) if 0 <= end <= len(tail) - 22 else (0, 0)
    )
    wide = tail.rfind(b"PK\x06\x06")
    if 0 <= wide <= len(tail) - 56:
        members, length = struct.unpack_from("<QQ", tail, wide + 32)
    if members > _MOST_MEMBERS or length > max(1, members) * _LONGEST_ENTRY:
        raise CheckpointError(
            f"{printable(str(path))}: a zip directory of {members:,} members in {length:,} bytes; "
            f"torch.save writes one member a tensor, at most {_MOST_MEMBERS:,} are read"
        )


def _check_places(shown: str, members: list[zipfile.ZipInfo], size: int) -> None:
    end = 0
    for member in sorted(members, key=lambda m: m.header_offset):
        if member.file_size != member.compress_size or member.header_offset < end:
            raise CheckpointError(
                f"{shown}: overlapping or inconsistent member {printable(member.filename)!r}"
            )
        end = member.header_offset + 30 + member.compress_size
    if end > size:
        raise CheckpointError(f"{shown}: truncated: expected {end:,} bytes or more, found {size:,}")


def _leaves(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ".." in name.split("/") or "/" not in name


def _globals(file: IO[bytes]) -> Iterator[str]:
    """Every `module.name` in one pickle; the last strings before STACK_GLOBAL are its operands."""
    strings: list[str] = []
    memo: dict[int, str] = {}
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(strings[-2:])
            elif "GET" in opcode.name:
                strings.append(memo.get(int(str(argument)), "?"))
            elif opcode.name == "MEMOIZE":
                memo[len(memo)] = strings[-1] if strings else "?"
            elif "PUT" in opcode.name:
                memo[int(str(argument))] = strings[-1] if strings else "?"
            elif isinstance(argument, str):
                strings.append(argument)
    except ValueError:  # not a whole pickle: what was found so far is what there is
        return
