"""`ticketkit show`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import ticketkit
from tests.cli.conftest import Cli
from tests.samples import FORMS, save, state
from ticketkit import draw
from ticketkit.checkpoint import open_checkpoint


@pytest.fixture
def ticket(folder: Path) -> Path:
    """A ticket of the sample weights."""
    checkpoint = open_checkpoint(save(state(), folder, "safetensors"))
    draw(checkpoint, scheme="row", sparsity=0.5, seed=3, exclude="att*").save("t.safetensors")
    return folder / "t.safetensors"


def test_a_ticket_shows_its_layers_sparsity_and_provenance(ticket: Path, cli: Cli) -> None:
    result = cli("show", ticket.name)
    assert result.status == 0
    assert result.out.startswith("t.safetensors: a ticket\n\nlayer         shape    weights  kept")
    assert "prunable weights                     0.500000  0.5" in result.out
    for line in (
        "scheme              row\n",
        "seed                3\n",
        "include             none\n",
        "exclude             att*\n",
        "allow empty layers  no\n",
        f"made by             {ticketkit.__version__}\n",
        f"torch {torch.__version__}\n",
    ):
        assert line in result.out
    assert result.err.startswith("note: in 1 of 2 layers (22.9% of the prunable weights")


def test_a_ticket_of_a_live_network_says_that_its_source_is_not_recorded(
    cli: Cli, folder: Path
) -> None:
    draw(torch.nn.Linear(3, 3), scheme="unstructured", sparsity=0.5).save("t.safetensors")
    assert "source sha256       not recorded\n" in cli("show", "t.safetensors").out


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_shows_its_tensors(form: str, cli: Cli, folder: Path) -> None:
    path = save(state(), folder, form)
    result = cli("show", path.name)
    words = open_checkpoint(path).description
    assert result.out.startswith(f"{path.name}: a checkpoint, no ticket: {words}\n\ntensor ")
    assert "\nstem.weight               8x3x3x3  F32         216\n" in result.out
    assert "\nbn.num_batches_tracked    scalar   I64           1\n" in result.out
    assert result.out.endswith("\n11 tensors, 446 elements\n")
    assert result.err == ""


def test_json_is_one_document(ticket: Path, cli: Cli) -> None:
    for name, kind in ((ticket.name, "ticket"), ("model.safetensors", "checkpoint")):
        document = cli("show", name, "--json").document
        assert document["schema"] == "ticketkit.show/1"
        assert document["kind"] == kind
        assert document["path"] == name


def test_an_altered_ticket_is_shown_on_request_alone(ticket: Path, cli: Cli) -> None:
    # fault row 10
    data = bytearray(ticket.read_bytes())
    data[-1] ^= 1
    ticket.write_bytes(data)
    result = cli("show", ticket.name)
    assert (result.status, result.out) == (3, "")
    assert result.err.startswith("error: t.safetensors: stem.weight: altered: expected sha256 ")
    assert cli("show", ticket.name, "--no-verify").status == 0


def test_control_characters_do_not_reach_the_terminal(cli: Cli, folder: Path) -> None:
    save({"a": torch.ones(2)}, folder, "safetensors", "x\x1b[31m")
    result = cli("show", "x\x1b[31m.safetensors")
    assert result.out.startswith("x\\x1b[31m.safetensors: a checkpoint")
    assert cli("show", "y\x1b[31m").err == "error: y\\x1b[31m: no such file\n"
