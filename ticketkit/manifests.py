"""A stage of a run: a folder whose manifest tells whether all that was written is still there.

The manifest has the size and SHA-256 of every file, the hash of the recipe, and the hash of the
manifest of the stage before, so stages of different runs are not taken for one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ticketkit.errors import CheckpointError, InputError, OutputError, UsageError, printable
from ticketkit.fields import field, object_of
from ticketkit.files import sha256, sync_folder
from ticketkit.tensorfile import json_object

MANIFEST = "MANIFEST.json"
_SCHEMA = 1
# No dot, which sets apart what is unfinished or broken; and nothing that leads elsewhere.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)
# What is found where a file is lost, or a disk no longer reads it: the stage is broken. Anything
# else, such as no permission to read it, says nothing about the stage.
_LOST = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG}


@dataclass(frozen=True)
class Stage:
    """A finished stage of a run: `path` is its folder."""

    path: Path

    @property
    def name(self) -> str:
        """Such as `step-000123`."""
        return self.path.name

    @property
    def series(self) -> str:
        """The name without the number at its end: `step-`."""
        return self.name.rstrip("0123456789")

    @property
    def order(self) -> tuple[int, str]:
        """By which the stages of a series are sorted: `step-9` is before `step-10`."""
        return int(self.name[len(self.series) :] or 0), self.name


def is_stage_name(name: str) -> bool:
    """Whether a folder of this name can be a finished stage."""
    return _NAME.fullmatch(name) is not None


def check_stage_name(name: str) -> None:
    """Raise a `UsageError` for a name that no stage can have."""
    if not is_stage_name(name):
        raise UsageError(
            "expected a stage's name of up to 100 letters, digits, '-' and '_'; "
            f"found {printable(name, 200)!r}"
        )


def seal(folder: Path, recipe: str, parent: Stage | None) -> None:
    """Make the files of a folder durable, and then write its manifest, durably too."""
    files = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            sync_folder(path)
            continue
        if not stat.S_ISREG(mode):
            raise OutputError(f"{printable(str(path))}: a stage holds regular files only")
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
        files[path.relative_to(folder).as_posix()] = {"sha256": digest, "size": size}
    manifest = {
        "schema": _SCHEMA,
        "recipe": recipe,
        "parent": parent and {"name": parent.name, "sha256": _hash_of(parent)},
        "files": files,
    }
    with (folder / MANIFEST).open("x", encoding="utf-8") as text:
        text.write(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        text.flush()
        os.fsync(text.fileno())
    sync_folder(folder)


def fault_of(stage: Stage, recipe: str, *, alone: bool = False) -> str:
    """What is wrong with a stage; empty where it is whole.

    Files beside its own are no fault. `alone`: whatever the stage before it is.
    """
    try:
        manifest = _read(stage)
        if manifest["recipe"] != recipe:
            return "it is of another recipe"
        for name, record in object_of(manifest["files"]).items():
            if fault := _fault_of_file(stage.path, name, object_of(record)):
                return f"{name}: {fault}"
        return "" if alone else _fault_of_parent(stage, manifest["parent"], recipe)
    except KeyError as error:
        return f"{MANIFEST}: no field {error}"
    except (CheckpointError, ValueError) as error:
        return f"{MANIFEST}: {error}"
    except OSError as error:
        if error.errno not in _LOST:
            shown = printable(str(error.filename or stage.path))
            raise InputError(f"{shown}: {error.strerror or error}") from error
        return f"{Path(error.filename or MANIFEST).name}: {error.strerror}"


def fault_of_one(stage: Stage, name: str) -> str:
    """What is wrong with one file of a stage, as its manifest tells; "" where it tells nothing."""
    try:
        record = object_of(_read(stage)["files"]).get(name)
        return _fault_of_file(stage.path, name, object_of(record)) if record else ""
    except FileNotFoundError:
        return ""
    except (CheckpointError, ValueError, KeyError, OSError) as error:
        return f"{MANIFEST}: {error}"


def _read(stage: Stage) -> dict[str, Any]:
    manifest = json_object("the text", (stage.path / MANIFEST).read_bytes())
    if manifest["schema"] != _SCHEMA:
        raise ValueError(f"expected schema {_SCHEMA}, found {manifest['schema']!r}")
    return manifest


def _fault_of_file(folder: Path, name: str, record: dict[str, Any]) -> str:
    path = folder / name
    inside = os.path.join(os.path.realpath(folder), *name.split("/"))  # noqa: PTH118  as it is
    if os.path.realpath(path) != inside:
        return "it leads out of the folder"
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        return "not a regular file"
    if found.st_size != field(record, "size", int):
        return f"expected {record['size']:,} bytes, found {found.st_size:,}"
    with path.open("rb") as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == record["sha256"]
    return "" if same else "its SHA-256 is another"


def _fault_of_parent(stage: Stage, parent: object, recipe: str) -> str:
    """Whether the stage before is the one that this one came from, as far as it is there.

    Where that one is damaged it tells nothing: only a whole one can contradict.
    """
    if parent is None:
        return ""
    record = object_of(parent)
    before = Stage(stage.path.with_name(field(record, "name", str)))
    if not (before.path / MANIFEST).is_file() or _hash_of(before) == record["sha256"]:
        return ""
    damaged = fault_of(before, recipe, alone=True)
    return "" if damaged else f"it did not come from {before.name} as it is here"


def _hash_of(stage: Stage) -> str:
    return sha256((stage.path / MANIFEST).read_bytes())
