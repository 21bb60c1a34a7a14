"""Which files a command may write; what it refuses is tested where it is done, in test_pruning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import save_shards, state
from ticketkit.outputs import pruned_path, there_already, ticket_path


@pytest.mark.parametrize(
    ("source", "pruned", "ticket"),
    [
        ("a/resnet50.pth", "resnet50.pruned.pth", "resnet50.ticket.safetensors"),
        ("v1.5.safetensors", "v1.5.pruned.safetensors", "v1.5.ticket.safetensors"),
        ("weights", "weights.pruned", "weights.ticket.safetensors"),
        ("llama/model.safetensors.index.json", "llama.pruned", "llama.ticket.safetensors"),
    ],
)
def test_outputs_are_named_after_their_input(source: str, pruned: str, ticket: str) -> None:
    assert pruned_path(Path(source)) == Path(pruned)
    assert ticket_path(Path(source)) == Path(ticket)


def test_outputs_of_a_folder_have_its_whole_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_shards(state(), tmp_path, stem="llama-3.1")
    assert pruned_path(folder) == Path("llama-3.1.pruned")
    monkeypatch.chdir(folder)
    for here in (Path(), Path("model.safetensors.index.json")):
        assert pruned_path(here) == Path("llama-3.1.pruned")
        assert ticket_path(here) == Path("llama-3.1.ticket.safetensors")


def test_what_is_there_already_is_one_sentence(tmp_path: Path) -> None:
    assert there_already((tmp_path / "a", tmp_path / "b")) == []
    (tmp_path / "b").symlink_to("nowhere")
    (told,) = there_already((tmp_path / "a", tmp_path / "b"))
    assert told == f"already there: {tmp_path / 'b'}; --force replaces what is there"
