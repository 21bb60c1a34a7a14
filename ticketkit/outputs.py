"""Which files a command may write, and where they go if nobody says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from ticketkit.archive import form_of, index_of, is_folder, is_sharded
from ticketkit.errors import UsageError, printable, some
from ticketkit.files import Output, reserve, target_of
from ticketkit.folders import OutputFolder, folder_of, reserve_folder


def pruned_path(source: Path) -> Path:
    """Where the pruned checkpoint of `source` goes: `STEM.pruned.EXT`, in the current folder."""
    if is_sharded(source):
        return Path(f"{_folder(source).name}.pruned")
    return Path(f"{source.stem}.pruned{source.suffix}")


def ticket_path(source: Path) -> Path:
    """Where the ticket of `source` goes: `STEM.ticket.safetensors`, in the current folder."""
    stem = _folder(source).name if is_sharded(source) else source.stem
    return Path(f"{stem}.ticket.safetensors")


def check_files(source: Path, pruned: Path | None, outputs: tuple[Path, ...]) -> None:
    """Refuse an input that is no checkpoint, and outputs that would replace it or one another."""
    form = form_of(source)
    parts = _parts_of(source) if form == "sharded" else []
    if any(same_place(path, each) for path in outputs for each in (source, *parts)):
        raise UsageError(f"the output would replace its input {printable(str(source))}")
    if len(outputs) > 1 and same_place(*outputs):
        raise UsageError(f"two outputs are one file: {printable(str(outputs[0]))}")
    for path in outputs:
        if form == "sharded" and path is pruned:
            folder_of(path)
        else:
            target_of(path)
    if pruned is not None:
        _check_form(source, form, pruned)
        _check_alone(pruned, {path.name for path in parts})


def check_absent(outputs: Collection[Path], *, force: bool) -> None:
    """Refuse outputs that something stands in the place of, unless they may be replaced."""
    if not force and (there := there_already(outputs)):
        raise UsageError(there[0])


def there_already(outputs: Collection[Path]) -> list[str]:
    """A sentence on outputs that something stands in the place of; none where nothing does."""
    there = some(str(path) for path in outputs if os.path.lexists(path))
    return [f"already there: {there}; --force replaces what is there"] if there else []


def reserve_pruned(
    source: Path, pruned: Path
) -> contextlib.AbstractContextManager[Output | OutputFolder]:
    """Hold the place of the pruned checkpoint of `source`, which is a folder for a sharded one."""
    return reserve_folder(pruned) if is_sharded(source) else reserve(pruned)


def _check_form(source: Path, form: str, pruned: Path) -> None:
    shown, found = printable(str(source)), printable(pruned.name)
    if form == "sharded" and pruned.suffix in (".safetensors", ".pt", ".pth", ".bin"):
        raise UsageError(f"{shown} is sharded and stays so: name a folder for it, found {found!r}")
    if form == "safetensors" and pruned.suffix not in (".safetensors", source.suffix):
        raise UsageError(
            f"{shown} is a safetensors file and stays one: give the output the suffix "
            f".safetensors, found {found!r}"
        )


def _check_alone(folder: Path, ours: set[str]) -> None:
    """Refuse a folder in which files of another checkpoint would stay beside ours."""
    there = sorted(folder.iterdir()) if ours and is_folder(folder) else []
    ends = (".safetensors", ".safetensors.index.json")
    others = [path.name for path in there if path.name.endswith(ends) and path.name not in ours]
    if others:
        raise UsageError(f"{printable(str(folder))} holds another checkpoint: {some(others)}")


def _parts_of(source: Path) -> list[Path]:
    """The folder, the index and the files of a sharded checkpoint."""
    from ticketkit.shards import paths_of

    index = index_of(source)
    return [index.parent, index, *paths_of(index)]


def _is_sharded(source: Path) -> bool:
    return is_folder(source) or source.name.endswith(".index.json")


def _folder(source: Path) -> Path:
    return (source if is_folder(source) else source.parent).resolve()


def same_place(one: Path, other: Path) -> bool:
    """Whether two paths lead to one place, there or not."""
    return os.path.realpath(one) == os.path.realpath(other)
