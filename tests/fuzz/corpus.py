"""The files that are mutated: small real ones, and every input that once found a bug.

`python -m tests.fuzz.corpus` builds the real ones again. The same bytes come out but for legacy
files, which torch.save numbers by where storages lie in memory. What a run of the fuzzer finds, and
is mended, is copied into the corpus under a name that says what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import seeds

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Sample:
    """One input: a file, or a folder of files, to be read at `name`."""

    name: str
    files: Mapping[str, bytes]
    """By path, `name` itself or under it."""

    def write(self, folder: Path) -> Path:
        """Write the files into a folder; the path to read."""
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        return folder / self.name

    @classmethod
    def at(cls, path: Path) -> Sample:
        """The sample that a file or a folder is."""
        found = sorted(path.iterdir()) if path.is_dir() else [path]
        files = {each.relative_to(path.parent).as_posix(): each.read_bytes() for each in found}
        return cls(path.name, files)


# One line an input: how the file, or each file of the folder, of this name is made.
SEEDS: dict[str, Callable[[], Mapping[str, bytes]]] = {
    "packed.ticket.safetensors": lambda: seeds.ticket(seeds.single_bits()),
    "block.ticket.safetensors": lambda: seeds.ticket(seeds.blocks()),
    "transposed.ticket.safetensors": lambda: seeds.ticket(seeds.transposed()),
    "rice.ticket.safetensors": lambda: seeds.ticket(seeds.many_bits(), "rice"),
    "values.ticket.safetensors": lambda: seeds.ticket(seeds.valued()),
    "fp32.safetensors": lambda: seeds.stored(seeds.weights()),
    "bf16.safetensors": lambda: seeds.stored(seeds.halves()),
    "integers.safetensors": lambda: seeds.stored(seeds.integers()),
    "sharded": seeds.shards,
    "zip.pt": lambda: seeds.saved(seeds.weights()),
    "legacy.pt": lambda: seeds.saved(seeds.weights(), zipped=False),
    "wrapped-zip.pt": lambda: seeds.saved(seeds.wrapped()),
    "wrapped-legacy.pt": lambda: seeds.saved(seeds.wrapped(), zipped=False),
    "pairs.pt": lambda: seeds.saved(seeds.pairs()),
    "scores.pt": lambda: seeds.saved(seeds.scores()),
    "prefixed.pt": lambda: seeds.saved(seeds.prefixed()),
    "robustness.pt": lambda: seeds.saved(seeds.robustness()),
    "odd-tensors-zip.pt": lambda: seeds.saved(seeds.odd()),
    "odd-tensors-legacy.pt": lambda: seeds.saved(seeds.odd(), zipped=False),
    "code.pt": lambda: seeds.saved(seeds.Code(), zipped=False),
}


def build(name: str) -> Sample:
    """One of the `SEEDS`, made again."""
    return Sample(name, {f"{name}{under}": data for under, data in SEEDS[name]().items()})


def corpus() -> list[Sample]:
    """Everything that is kept, by name."""
    return [Sample.at(path) for path in sorted(CORPUS.iterdir())]


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for seed in SEEDS:
        build(seed).write(CORPUS)
