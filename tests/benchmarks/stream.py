"""Group A, the rows on streaming: a checkpoint in shards, against loops over the same bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save_file

import ticketkit
from tests.benchmarks.measure import Line, Peer, Result, ratio, seconds, settle
from tests.benchmarks.networks import SCHEMES, Scale
from ticketkit.pruning import prune
from ticketkit.request import Request

_BUFFER = 2**24
_SHARDS = 4


def draw_rows(scale: Scale) -> Iterator[Result]:
    """A5: a draw from shards, the source's digest included, against reading and hashing them."""
    with _checkpoint(scale.shard_layers) as folder:
        checkpoint = ticketkit.open_checkpoint(folder)
        size = f"{checkpoint.size / 2**30:.1f} GiB bf16"
        for scheme in SCHEMES:
            runs = min(scale.runs, 5 if scheme == "unstructured" else 3)

            def ours(scheme: str = scheme) -> object:
                source = ticketkit.open_checkpoint(folder)
                return ticketkit.draw(source, scheme=scheme, sparsity=0.9)

            taken, floor, memory = _paired(runs, ours, lambda: _copied(folder, None))
            goal = 2 if scheme in ("unstructured", "channel") else 10
            what = f"draw {scheme} from {_SHARDS} shards, {size}"
            yield _seconds("A5", what, taken, floor, goal)
            yield _memory("A5", f"memory of that draw, {scheme}", memory, folder)


def prune_rows(scale: Scale) -> Iterator[Result]:
    """A6: pruning shards, against reading, hashing and writing them durably."""
    with _checkpoint(scale.shard_layers) as folder:
        output = folder.with_name("pruned")

        def ours() -> object:
            return prune(
                Request(folder, output, folder.with_name("t.safetensors"), 0.9, force=True)
            )

        def plain() -> None:
            output.mkdir()
            _copied(folder, output)

        def clear() -> None:
            shutil.rmtree(output, ignore_errors=True)
            os.sync()

        taken, floor, memory = _paired(min(scale.runs, 5), ours, plain, clear)
        yield _seconds("A6", f"prune unstructured, {_SHARDS} shards", taken, floor, 1.15)
        yield _memory("A6", "memory of that prune", memory, folder)
        yield Peer("A6", "load all, np.partition, save: 19 GiB", 61 / 9, quoted=True)


@contextlib.contextmanager
def _checkpoint(layers: int) -> Iterator[Path]:
    """A folder of shards of normal bfloat16 weights, as large language models are saved."""
    generator = torch.Generator().manual_seed(0)
    side = 4096 if layers > 1 else 64
    placed = {}
    with tempfile.TemporaryDirectory(prefix="ticketkit-bench-") as base:
        folder = Path(base) / "model"
        folder.mkdir()
        for number in range(_SHARDS):
            name = f"model-{number + 1:05}-of-{_SHARDS:05}.safetensors"
            weights = {
                f"model.layers.{number * layers + i}.proj{j}.weight": torch.empty(side, side)
                .normal_(std=0.02, generator=generator)
                .bfloat16()
                for i in range(layers)
                for j in range(4)
            }
            save_file(weights, folder / name)
            placed.update(dict.fromkeys(weights, name))
        index = json.dumps({"metadata": {}, "weight_map": placed})
        (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
        yield folder


def _copied(folder: Path, output: Path | None) -> str:
    """Read and hash every shard, and write it durably to `output` if there is one."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(_BUFFER))
    for path in sorted(folder.glob("*.safetensors")):
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(path.open("rb", buffering=0))
            target = output and stack.enter_context((output / path.name).open("wb", buffering=0))
            while count := source.readinto(buffer):
                digest.update(buffer[:count])
                if target:
                    target.write(buffer[:count])
            if target:
                os.fsync(target.fileno())
    return digest.hexdigest()


def _paired(
    runs: int,
    ours: Callable[[], object],
    floor: Callable[[], object],
    clear: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[float], int]:
    """Seconds of both, in turn, after one round to warm up; and by how much ours makes anonymous
    memory grow, at most. `clear` runs before each."""
    taken: list[float] = []
    floors: list[float] = []
    grown = 0
    for _ in range(1 + runs):
        settle()
        clear()
        with _watched() as growth:
            taken.append(seconds(ours))
        grown = max(grown, growth[0])
        clear()
        floors.append(seconds(floor))
    return taken[1:], floors[1:], grown


@contextlib.contextmanager
def _watched() -> Iterator[list[int]]:
    """The growth of anonymous memory in the block, in bytes at the peak: mapped files that are
    only read do not count, for the system takes their pages back when it needs them."""
    before, growth, done = _anonymous(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            growth[0] = max(growth[0], _anonymous() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield growth
    finally:
        done.set()
        thread.join()


def _anonymous() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return 1024 * int(found[1])


def _seconds(row: str, what: str, ours: list[float], floor: list[float], goal: float) -> Line:
    return Line(row, what, median(ours), median(floor), "s", ratio(ours, floor), goal)


def _memory(row: str, what: str, grown: int, folder: Path) -> Line:
    """Against one bit a weight and 128 MiB more."""
    bound = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 16 + 2**27
    return Line(row, what, grown / 2**20, bound / 2**20, "MiB", grown / bound, 1)
