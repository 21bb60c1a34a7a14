"""Pictures that take a while to make, kept in a file for the next time."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from ticketkit.errors import OutputError
from ticketkit.files import check_input, reserve, sha256
from ticketkit.options import spec_of
from ticketkit.parts import Task
from ticketkit.pictures import DTYPES, Pictures
from ticketkit.places import cache_folder
from ticketkit.registry import catalogue
from ticketkit.tensorfile import TensorFile, head_of

_KEY = "ticketkit.pictures"


def cached_splits(
    task: Task,
    root: Path | None,
    make: Callable[[], Mapping[str, Pictures]],
    made_by: Iterable[str] = (),
) -> dict[str, Pictures]:
    """The splits that `make` makes, or those of an earlier call with the same options.

    They are kept in a file in `root`: in the user's cache folder, `$XDG_CACHE_HOME/ticketkit` or
    `~/.cache/ticketkit`, where that is None. The file belongs to the task's spec and to the
    versions of its own distribution, torch, and the distributions `made_by`. One that is damaged is
    made anew; where none can be written, and for a task that no plugin offers, whose code may
    change at any time, the splits are made each time.
    """
    recipe = _recipe(task, made_by)
    path = _path(task.name, recipe, root)
    found = _read(path, recipe) if path else None
    if found is None:
        found = dict(make())
        if path:
            _write(found, path, recipe)
    return found


def _recipe(task: Task, made_by: Iterable[str]) -> dict[str, str | None] | None:
    """All that the pictures depend on; None where it cannot be told."""
    offer = catalogue().of(task)
    if offer is None:
        return None
    versions = {name: _version(name) for name in ("torch", *made_by)}
    return {"task": spec_of(task), offer.plugin.distribution: offer.plugin.version, **versions}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _path(name: str, recipe: object, root: Path | None) -> Path | None:
    folder = root or cache_folder()
    if recipe is None or folder is None:
        return None
    digest = sha256(json.dumps(recipe, sort_keys=True).encode())
    return folder / f"{name}-{digest[:16]}.safetensors"


def _record(recipe: object, splits: Mapping[str, Pictures]) -> str:
    digests = {split: pictures.digest() for split, pictures in splits.items()}
    return json.dumps({"recipe": recipe, "sha256": digests}, sort_keys=True)


def _read(path: Path, recipe: object) -> dict[str, Pictures] | None:
    """The splits in a file of this recipe, if it is there and whole."""
    try:
        check_input(path)
        file = TensorFile(path)
        splits = {
            split: Pictures(*(file.tensor(f"{split}.{what}").clone() for what in _WHAT))
            for split in dict.fromkeys(name.rpartition(".")[0] for name in file.entries)
        }
        return splits if file.metadata.get(_KEY) == _record(recipe, splits) else None
    except (OSError, ValueError, KeyError):  # what is wrong with it does not matter
        return None


_WHAT = ("images", "targets")


def _write(splits: Mapping[str, Pictures], path: Path, recipe: object) -> None:
    """Keep the splits, if that is possible: a disk may be full, or another run be at it."""
    tensors = {f"{s}.{what}": getattr(splits[s], what) for s in splits for what in _WHAT}
    forms = {n: (DTYPES[t.dtype], tuple(t.shape), t.nbytes) for n, t in tensors.items()}
    head = head_of(forms, {_KEY: _record(recipe, splits)})
    size = len(head) + sum(tensor.nbytes for tensor in tensors.values())
    with contextlib.suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with reserve(path) as output, output.writing(size) as file:
            file.write(head)
            for tensor in tensors.values():
                file.write(_bytes(tensor))


def _bytes(tensor: torch.Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data
