"""What a file is, as data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.samples import FORMS, save, state
from ticketkit import CheckpointError, InputError, TicketError, draw
from ticketkit.checkpoint import open_checkpoint
from ticketkit.showing import show


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_is_shown_by_its_tensors(form: str, tmp_path: Path) -> None:
    path = save(state(), tmp_path, form)
    found = show(path)
    assert found["schema"] == "ticketkit.show/1"
    assert found["kind"] == "checkpoint"
    assert found["path"] == str(path)
    assert found["form"] == open_checkpoint(path).description
    shown = {tensor["name"]: tensor for tensor in found["tensors"]}
    assert set(shown) == set(state())
    stem = {"name": "stem.weight", "shape": [8, 3, 3, 3], "dtype": "F32", "elements": 216}
    assert shown["stem.weight"] == stem
    assert shown["bn.num_batches_tracked"]["shape"] == []


def test_a_ticket_is_shown_by_its_layers_and_where_it_came_from(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save(state(), tmp_path, "safetensors"))
    ticket = draw(checkpoint, scheme="row", sparsity=0.5, exclude="attention*")
    ticket.save(tmp_path / "x.safetensors")
    found = show(tmp_path / "x.safetensors")
    assert found["kind"] == "ticket"
    assert found["parts"] == {
        "scheme": "row",
        "criterion": "magnitude",
        "allocation": "global",
        "strategy": "omp",
    }
    assert [layer["name"] for layer in found["layers"]] == ["block.weight", "stem.weight"]
    assert found["sparsity"]["requested"] == 0.5
    assert found["provenance"]["exclude"] == ["attention*"]
    assert found["provenance"]["source_sha256"] == checkpoint.digest()


def test_an_altered_ticket_is_shown_on_request_alone(tmp_path: Path) -> None:
    # fault row 10
    path = tmp_path / "x.safetensors"
    draw(torch.nn.Linear(8, 8), scheme="unstructured", sparsity=0.5).save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(TicketError, match=": weight: altered: expected sha256"):
        show(path)
    assert show(path, verify=False)["kind"] == "ticket"


def test_tensors_without_values_are_shown(tmp_path: Path) -> None:
    # fault row 32
    path = save({"x": torch.ones(2, 3, device="meta")}, tmp_path, "zip")
    assert show(path)["tensors"][0]["shape"] == [2, 3]


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        show(tmp_path / "nothing")
    (tmp_path / "x").write_bytes(b"<html>")
    with pytest.raises(CheckpointError, match="an HTML page"):
        show(tmp_path / "x")
