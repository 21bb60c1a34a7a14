"""Safetensors checkpoints: one file, or a folder of shards with an index that tells of them.

Shards are mapped into memory and read and written one tensor, piece by piece, after the other, so
that a checkpoint may be larger than memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ticketkit.archive import check_safetensors, index_of
from ticketkit.checkpoint import Checkpoint, Raw
from ticketkit.errors import CheckpointError, printable, some
from ticketkit.files import Output
from ticketkit.folders import OutputFolder
from ticketkit.masking import masked
from ticketkit.pretrained import PRETRAINING, Pretraining
from ticketkit.progress import Advance, stage
from ticketkit.tensorfile import TICKET, TensorFile, json_object

if TYPE_CHECKING:
    import torch

    from ticketkit.mask import Mask
    from ticketkit.surviving import Values


class SafetensorsCheckpoint(Checkpoint):
    """The tensors of safetensors files."""

    def __init__(self, path: Path, form: str, files: list[TensorFile]) -> None:
        self.files = files
        self._file_of = {key: file for file in files for key in file.entries}
        entries = {key: file.entries[key] for key, file in self._file_of.items()}
        super().__init__(
            path,
            form,
            {key: entry.shape for key, entry in entries.items()},
            {key: entry.dtype for key, entry in entries.items()},
        )

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def at(self, key: str) -> torch.Tensor:
        return self._file_of[key].tensor(key)

    def raw_at(self, key: str) -> Raw:
        return self._file_of[key].raw(key)

    def _write(
        self,
        source: TensorFile,
        file: IO[bytes],
        mask: Mask,
        values: Mapping[str, Values],
        advance: Advance,
    ) -> None:
        """One file with the same header, byte for byte, and its removed weights zero."""
        file.write(source.head)
        advance(len(source.head))
        for key in source.entries:
            for piece in self._pieces(source, key, mask, values):
                file.write(piece)
                advance(len(piece))

    def _pieces(
        self, source: TensorFile, key: str, mask: Mask, values: Mapping[str, Values]
    ) -> Iterator[memoryview]:
        """The bytes of one tensor as they are to be written."""
        name = self.naming.names.get(key, "")
        if name not in mask:
            yield source.bytes_of(key)
        elif name in values:
            yield values[name].among_zeros(mask.packed(name).unpack()).data
        else:
            for piece in masked(source.raw(key), mask.packed(name)):
                yield piece.view(np.uint8).data


class SingleFile(SafetensorsCheckpoint):
    """One safetensors file."""

    def __init__(self, path: Path) -> None:
        file = TensorFile(path)
        if TICKET in file.metadata:
            raise CheckpointError(
                f"{printable(str(path))}: a ticket, where a checkpoint was expected"
            )
        super().__init__(path, "safetensors", [file])

    @cached_property
    def pretraining(self) -> Pretraining | None:
        text = self.files[0].metadata.get(PRETRAINING)
        return None if text is None else Pretraining.of_text(printable(str(self.path)), text)

    def write(
        self, output: Output, mask: Mask, values: Mapping[str, Values] = MappingProxyType({})
    ) -> list[str]:
        with stage("writing", self.size) as advance, output.writing(self.size) as file:
            self._write(self.files[0], file, mask, values, advance)
        return []


class ShardedCheckpoint(SafetensorsCheckpoint):
    """A folder of safetensors files, and the index that names the file of each tensor."""

    def __init__(self, path: Path) -> None:
        self.index = index_of(path)
        self._text = self.index.read_bytes()
        placed = _weight_map(self.index, self._text)
        files = [_shard(self.index, name) for name in sorted(set(placed.values()))]
        _check_placed(self.index, placed, files)
        super().__init__(path, "sharded", files)

    @property
    def description(self) -> str:
        count = len(self.files)
        return f"sharded safetensors, {count} {'file' if count == 1 else 'files'}"

    def elsewhere(self) -> list[str]:
        ours = {self.index.name, *(file.path.name for file in self.files)}
        return sorted(path.name for path in self.index.parent.iterdir() if path.name not in ours)

    def write(
        self, output: OutputFolder, mask: Mask, values: Mapping[str, Values] = MappingProxyType({})
    ) -> list[str]:
        with stage("writing", self.size) as advance:
            for source in self.files:
                with output.writing(source.path.name, source.size) as file:
                    self._write(source, file, mask, values, advance)
        with output.writing(self.index.name, len(self._text)) as file:
            file.write(self._text)
        return []


def paths_of(index: Path) -> list[Path]:
    """The files that an index names."""
    names = set(_weight_map(index, index.read_bytes()).values())
    return [index.with_name(name) for name in sorted(names)]


def _weight_map(index: Path, text: bytes) -> dict[str, str]:
    """The shard of each tensor, by the index; a `CheckpointError` for what is no index."""
    shown = printable(str(index))
    placed = json_object(f"{shown}: the index", text).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise CheckpointError(
            f"{shown}: malformed index: expected a 'weight_map' of names to files"
        )
    odd = [f"{key} -> {name!r}" for key, name in placed.items() if not _is_shard_name(name)]
    if odd:
        raise CheckpointError(
            f"{shown}: expected names of .safetensors files in its own folder; found {some(odd, 3)}"
        )
    return placed


def _is_shard_name(name: Any) -> bool:
    """Whether a name from a file stays inside its folder."""
    return (
        isinstance(name, str)
        and name.endswith(".safetensors")
        and len(name) <= 255
        and name.isprintable()
        and not {"/", "\\", ":"} & set(name)
    )


def _shard(index: Path, name: str) -> TensorFile:
    path = index.with_name(name)
    if not path.exists():
        raise CheckpointError(
            f"{printable(str(index))}: names the shard {printable(name)}, which is not there"
        )
    check_safetensors(path)
    return TensorFile(path)


def _check_placed(index: Path, placed: Mapping[str, str], files: list[TensorFile]) -> None:
    """Refuse shards that do not hold what the index says, no more and no less."""
    shown = printable(str(index))
    held = {(key, file.path.name) for file in files for key in file.entries}
    counts = Counter(key for key, _ in held)
    if twice := sorted(key for key, count in counts.items() if count > 1):
        raise CheckpointError(f"{shown}: held by two shards: {some(twice)}")
    if lacking := sorted(set(placed.items()) - held):
        listed = some(f"{key} in {name}" for key, name in lacking)
        raise CheckpointError(f"{shown}: named by the index and not held: {listed}")
    if unnamed := sorted(held - set(placed.items())):
        listed = some(f"{key} in {name}" for key, name in unnamed)
        raise CheckpointError(f"{shown}: held and not named by the index: {listed}")
