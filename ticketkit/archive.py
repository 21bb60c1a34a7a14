"""What a checkpoint file is, and whether it is safe to open: all before torch is imported.

torch.load inflates compressed archives, runs what a pickle asks for unless it is told not to, and
explains none of its failures in the words of the person who downloaded the file.
"""

from __future__ import annotations

import contextlib
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ticketkit.errors import CheckpointError, InputError, printable, some
from ticketkit.files import check_input

# safetensors refuses a longer header too.
LONGEST_HEADER = 100 * 2**20
# The end of the name of a file that tells which shard holds which tensor.
_INDEX = ".safetensors.index.json"
_MOST_MEMBERS = 200_000
_LONGEST_ENTRY = 2048
# A legacy file is so many pickles, then raw data.
_LEGACY_PICKLES = 5
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_HEADS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file; fetch it with 'git lfs pull'",
    b"<!doctype": "an HTML page, not a checkpoint; the download was answered with a web page",
    b"<html": "an HTML page, not a checkpoint; the download was answered with a web page",
    b"<?xml": "an XML page, not a checkpoint; the download was answered with an error",
    b"\x1f\x8b": "a gzip file; unpack it first",
}


def form_of(path: Path) -> str:
    """`"safetensors"`, `"sharded"`, `"zip"` or `"legacy"`; a `CheckpointError` for anything else.

    `"sharded"`: a folder of safetensors files with an index, or the index itself.
    """
    if is_sharded(path):
        index_of(path)
        return "sharded"
    return _form_of_file(path)


def is_sharded(path: Path) -> bool:
    """Whether `path` stands for a folder of shards, right or wrong: a folder, or an index."""
    return is_folder(path) or path.name.endswith(".index.json")


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`; not, where nothing can be: at too long a name."""
    try:
        return path.is_dir()
    except OSError:
        return False


def index_of(path: Path) -> Path:
    """The index of a sharded checkpoint: `path` itself, or the one in the folder `path`."""
    shown = printable(str(path))
    if not is_folder(path):
        if not path.name.endswith(_INDEX):
            raise CheckpointError(
                f"{shown}: not an index of safetensors files; of sharded checkpoints only those "
                f"with a *{_INDEX} are read"
            )
        if check_input(path) > LONGEST_HEADER:
            raise CheckpointError(f"{shown}: an index of over 100 MiB")
        return path
    try:
        found = sorted(each for each in path.iterdir() if each.name.endswith(_INDEX))
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror or error}") from None
    if len(found) == 1:
        return index_of(found[0])
    names = some(each.name for each in found) or "none"
    raise CheckpointError(f"{shown}: a folder; expected one *{_INDEX} in it, found {names}")


def check_safetensors(path: Path) -> None:
    """Refuse a file that does not begin as a safetensors file does."""
    if (form := form_of(path)) != "safetensors":
        raise CheckpointError(
            f"{printable(str(path))}: expected a safetensors file, found the form {form}"
        )


def _form_of_file(path: Path) -> str:
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
    # The length that opens a safetensors file may begin with the bytes of a pickle: 640 does.
    length = int.from_bytes(head[:8], "little")
    pickled = head[:2] in _PICKLES
    if head[8:9] == b"{" and (length < 2**32 or not pickled):
        if size < length + 8 <= LONGEST_HEADER:
            raise CheckpointError(
                f"{shown}: truncated: expected {length + 8:,} bytes or more, found {size:,}; "
                "fetch it again"
            )
        return "safetensors"
    if pickled:
        return "legacy"
    raise CheckpointError(
        f"{shown}: not a checkpoint: neither safetensors nor a file of torch.save (it starts with "
        f"{head[:8]!r})"
    )


def globals_of(path: Path) -> list[str]:
    """The names of code that the pickles of a file ask for, read without running them."""
    found: set[str] = set()
    # Of what is not a whole pickle, what was found so far is what there is. zipfile, zlib and
    # pickletools have each their own errors for damage, and more of them than they document.
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in damaged text
        for pickled in pickles_of(path):
            found.update(_globals(pickled))
    return sorted(found)


def pickles_of(path: Path) -> Iterator[IO[bytes]]:
    """The pickles of a file of torch.save, each to be read to its end before the next."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".pkl"):
                    with archive.open(member) as file:
                        yield file
    else:
        with path.open("rb") as file:
            for _ in range(_LEGACY_PICKLES):
                yield file


def stored_bytes(path: Path) -> int:
    """The bytes of tensors that a zip file of torch.save holds."""
    with zipfile.ZipFile(path) as archive:
        return sum(m.file_size for m in archive.infolist() if "/data/" in m.filename)


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
    if any(m.filename.endswith("/constants.pkl") for m in members):
        raise CheckpointError(
            f"{shown}: a TorchScript archive, which holds code; where it was made, save the "
            "weights alone: torch.save(model.state_dict(), PATH)"
        )
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
    end = tail.rfind(b"PK\x05\x06", 0, max(0, len(tail) - 18))
    if end < 0:
        return  # there is none, as zipfile will say
    before = size - len(tail)
    members, length, start = struct.unpack_from("<HII", tail, end + 10)
    stop = named = before + end
    if end >= 76 and tail[end - 20 :].startswith(b"PK\x06\x07"):  # zip64
        (named,) = struct.unpack_from("<Q", tail, end - 12)
        stop = before + end - 76
        members, length, start = struct.unpack_from("<QQQ", tail, end - 44)
    shown = printable(str(path))
    if members > _MOST_MEMBERS or length > max(1, members) * _LONGEST_ENTRY:
        raise CheckpointError(
            f"{shown}: a zip directory of {members:,} members in {length:,} bytes; torch.save "
            f"writes one member a tensor, at most {_MOST_MEMBERS:,} are read"
        )
    # Where there is room for doubt, zipfile and torch may read two different directories.
    if start + length != stop or named != stop:
        raise CheckpointError(f"{shown}: the zip directory is not where the archive says it is")


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
