"""Writing a network's weights, and how they were pretrained."""

from __future__ import annotations

import json
import random
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import ticketkit
from tests import samples
from tests.core.test_pretrained import TOLD
from ticketkit.files import reserve
from ticketkit.pretrained import PRETRAINING
from ticketkit.pruning import prune
from ticketkit.saving import save_checkpoint


def saved(path: Path, state: dict[str, torch.Tensor] | None = None) -> Path:
    with reserve(path) as output:
        save_checkpoint(output, samples.state() if state is None else state, TOLD)
    return path


def test_the_safetensors_library_reads_the_same_tensors(tmp_path: Path) -> None:
    state = dict(samples.state())
    state["half"] = torch.rand(3, 5).half()
    state["bf16"] = torch.rand(2, 4).bfloat16()[:, ::2]
    state["last"] = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    state["complex"] = torch.randn(3, dtype=torch.complex64).conj()
    state["empty"] = torch.empty(0, 3)
    state["scalar"] = torch.tensor(True)
    found = load_file(saved(tmp_path / "w.safetensors", state))
    assert set(found) == set(state)
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_the_same_content_gives_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    items = list(samples.state().items())
    one = saved(tmp_path / "a.safetensors").read_bytes()
    random.Random(0).shuffle(items)
    assert saved(tmp_path / "b.safetensors", dict(items)).read_bytes() == one


def test_it_can_be_opened_and_tells_of_itself(tmp_path: Path) -> None:
    checkpoint = ticketkit.open_checkpoint(saved(tmp_path / "w.safetensors"))
    assert checkpoint.pretraining == TOLD
    assert checkpoint.normalisation() == TOLD.normalisation
    torch.save(samples.state(), tmp_path / "w.pt")
    plain = ticketkit.open_checkpoint(tmp_path / "w.pt")
    assert plain.pretraining is None
    assert plain.digest() == checkpoint.digest()
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"


def test_it_is_placed_whole_with_the_users_mode(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors")
    (tmp_path / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    before = path.read_bytes()
    with pytest.raises(ticketkit.CheckpointError):
        saved(path, {"a": torch.ones(2).to_sparse()})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "odd",
    [
        torch.ones(2, 2).to_sparse(),
        torch.ones(2, device="meta"),
        samples.quantised(),
        torch.ones(2, dtype=torch.complex128),
        {"extra": "state"},
    ],
)
def test_what_safetensors_cannot_hold_is_named_and_nothing_written(
    odd: object, tmp_path: Path
) -> None:
    with pytest.raises(ticketkit.CheckpointError, match="cannot hold odd"):
        saved(tmp_path / "w.safetensors", {"odd": odd, "even": torch.ones(2)})  # type: ignore[dict-item]
    assert not (tmp_path / "w.safetensors").exists()


def test_a_name_that_no_checkpoint_may_have_is_refused(tmp_path: Path) -> None:
    for name in ("__metadata__", "a\nb", "a" * 513):
        with pytest.raises(ticketkit.CheckpointError):
            saved(tmp_path / "w.safetensors", {name: torch.ones(2)})


def test_pruning_keeps_what_the_file_tells_byte_for_byte(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors")
    request = samples.request(path)
    document = prune(request)
    pruned = ticketkit.open_checkpoint(tmp_path / "pruned.safetensors")
    assert pruned.pretraining == TOLD
    length = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert (tmp_path / "pruned.safetensors").read_bytes()[:length] == path.read_bytes()[:length]
    ticket = ticketkit.load_ticket(tmp_path / "ticket.safetensors")
    assert ticket.provenance.normalisation == TOLD.normalisation
    assert any("normalised by the file's own mean (0.1)" in note for note in document["notes"])


def test_garbled_metadata_is_an_error_of_the_file(tmp_path: Path) -> None:
    header = {"__metadata__": {PRETRAINING: json.dumps({"format": 1})}}
    path = tmp_path / "w.safetensors"
    path.write_bytes(samples.raw_safetensors(header))
    with pytest.raises(
        ticketkit.CheckpointError, match=r"w\.safetensors: its 'ticketkit\.pretraining'"
    ):
        _ = ticketkit.open_checkpoint(path).pretraining
