"""Files that people have, made for tests: checkpoints in every form, and damaged ones."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ticketkit.request import Request

FORMS = ["safetensors", "zip", "legacy", "wrapped-zip", "wrapped-legacy"]


def state(seed: int = 0) -> OrderedDict[str, torch.Tensor]:
    """A small state dict with a convolution, a linear layer, a head, and what belongs to them."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    made = OrderedDict(
        {
            "stem.weight": normal(8, 3, 3, 3),
            "bn.weight": torch.ones(8),
            "bn.bias": normal(8),
            "bn.running_mean": normal(8),
            "bn.running_var": torch.ones(8),
            "bn.num_batches_tracked": torch.tensor(7),
            "block.weight": normal(8, 8, 1, 1),
            "attention.in_proj_weight": normal(12, 4),
            "embedding.weight": normal(10, 4),
            "fc.weight": normal(5, 8),
            "fc.bias": normal(5),
        }
    )
    # What torch's own state_dict() carries along.
    made._metadata = OrderedDict({"": {"version": 1}, "bn": {"version": 2}})  # type: ignore[attr-defined]
    return made


def quantised() -> torch.Tensor:
    """A tensor of eight-bit numbers with a scale."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is giving them up
        return torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)


PRUNABLE = ["attention.in_proj_weight", "block.weight", "stem.weight"]


def save(weights: Mapping[str, torch.Tensor], folder: Path, form: str, stem: str = "model") -> Path:
    """Save weights in one of `FORMS`; the path."""
    if form == "safetensors":
        path = folder / f"{stem}.safetensors"
        save_file(dict(weights), path, {"format": "pt", "made for": "a test"})
        return path
    path = folder / f"{stem}.pt"
    whole: Any = weights
    if form.startswith("wrapped"):
        whole = {
            "epoch": 3,
            "state_dict": weights,
            "optimizer": {"state": {0: {"momentum_buffer": torch.ones(4)}}, "param_groups": []},
            "best": 0.5,
        }
    torch.save(whole, path, _use_new_zipfile_serialization="zip" in form)
    return path


def save_shards(
    weights: Mapping[str, torch.Tensor], folder: Path, count: int = 3, stem: str = "model"
) -> Path:
    """Save weights as Hugging Face's tools do, in `count` files and an index; their folder."""
    made = folder / stem
    made.mkdir()
    placed = {}
    for number in range(count):
        name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        shard = {key: weights[key] for key in list(weights)[number::count]}
        save_file(shard, made / name, {"format": "pt"})
        placed.update(dict.fromkeys(shard, name))
    save_index(made, placed)
    return made


def save_index(folder: Path, placed: object) -> None:
    """Write the index of a folder of shards."""
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    index = {"metadata": {"total_size": size}, "weight_map": placed}
    text = json.dumps(index, indent=2) + "\n"
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def load(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a file that `save` made, by other means than ticketkit's."""
    if path.is_dir():
        return {k: v for each in path.glob("*.safetensors") for k, v in load(each).items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    whole = torch.load(path, weights_only=True)
    weights: dict[str, torch.Tensor] = whole.get("state_dict", whole.get("model", whole))
    return weights


def request(source: Path, **options: Any) -> Request:
    """A request as the command line makes it, its outputs beside the input."""
    options.setdefault("output", source.with_name(f"pruned{source.suffix}"))
    options.setdefault("ticket", source.with_name("ticket.safetensors"))
    return Request(source, **{"sparsity": 0.5, **options})


def metadata(data: bytes) -> dict[str, Any]:
    """What is recorded in the bytes of a ticket's file."""
    length = int.from_bytes(data[:8], "little")
    text = json.loads(data[8 : 8 + length])["__metadata__"]["ticketkit"]
    found: dict[str, Any] = json.loads(text)
    return found


def raw_safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file by hand; `header` is JSON text, bytes, or what JSON is made from."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def rezip(
    source: Path,
    target: Path,
    edit: Callable[[str, bytes], bytes] = lambda name, data: data,
    method: int = zipfile.ZIP_STORED,
) -> Path:
    """A zip archive written again, its members edited or compressed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for member in old.infolist():
            new.writestr(member.filename, edit(member.filename, old.read(member)))
    return target


def run(
    *arguments: object, cwd: Path, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """`ticketkit ARGUMENTS` in a process of its own."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def command(*arguments: object) -> list[str]:
    """The command line of `run`."""
    return [sys.executable, "-m", "ticketkit", *map(str, arguments)]


def leftovers(folder: Path) -> list[str]:
    """The temporary files of unfinished outputs."""
    return sorted(path.name for path in folder.glob(".*ticketkit-*"))


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def check_message(error: Exception) -> None:
    """A message is a line, and no advice to let a file run code."""
    text = str(error)
    assert text
    assert "\n" not in text
    assert "\x1b" not in text
    assert "weights_only" not in text


def wait_for(found: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.001)


@contextlib.contextmanager
def little_memory(limit: int = 2**20) -> Iterator[None]:
    """Fail where the block has allocated more than a little."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """A quota: files of this process cannot grow beyond `size`."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def bit_flips(data: bytes) -> Iterator[bytes]:
    """The data with one bit flipped, another one for each byte."""
    for at in range(len(data)):
        yield data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]
