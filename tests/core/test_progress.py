"""Progress of long work, told to whoever listens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import ticketkit
from tests.samples import save_shards, state
from ticketkit.progress import Advance, listening, stage
from ticketkit.pruning import prune
from ticketkit.request import Request


class Listener:
    """What was told."""

    def __init__(self) -> None:
        self.totals: dict[str, tuple[int, str]] = {}
        self.done: dict[str, int] = {}

    @contextlib.contextmanager
    def __call__(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        self.totals[what] = (total, unit)
        self.done[what] = 0

        def advance(count: int) -> None:
            self.done[what] += count

        yield advance


def test_nobody_has_to_listen() -> None:
    with stage("work", 10) as advance:
        advance(10)


def test_a_listener_is_told_inside_the_block_alone() -> None:
    listener = Listener()
    with listening(listener), stage("work", 10, "things") as advance:
        advance(3)
        advance(4)
    with stage("other", 1) as advance:
        advance(1)
    assert listener.totals == {"work": (10, "things")}
    assert listener.done == {"work": 7}


@pytest.mark.parametrize("scheme", ["unstructured", "channel"])
def test_a_prune_tells_of_all_bytes_and_weights(scheme: str, tmp_path: Path) -> None:
    folder = save_shards(state(), tmp_path)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    listener = Listener()
    request = Request(folder, tmp_path / "out", tmp_path / "t.safetensors", 0.5, scheme=scheme)
    with listening(listener):
        prune(request)
    assert listener.totals == {
        "hashing": (size, "B"),
        "ranking": (328, "weights"),
        "writing": (size, "B"),
    }
    assert listener.done["ranking"] == 328
    assert listener.done["writing"] == size
    read = sum(tensor.nbytes for tensor in state().values())
    assert listener.done["hashing"] == read
    assert ticketkit.load_ticket(tmp_path / "t.safetensors").mask.size == 328
