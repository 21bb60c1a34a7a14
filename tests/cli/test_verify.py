"""`ticketkit verify`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Cli, Result
from tests.samples import load, save, state
from ticketkit import load_ticket


@pytest.fixture
def pair(cli: Cli, folder: Path) -> Path:
    """The folder with a pruned checkpoint and its ticket."""
    save(state(), folder, "zip")
    assert cli("prune", "model.pt", "--sparsity", "0.5", "-q").status == 0
    return folder


def test_a_ticket_that_is_honoured_exits_with_0(pair: Path, cli: Cli) -> None:
    result = cli("verify", "model.ticket.safetensors", "model.pruned.pt")
    assert result == Result(
        0,
        "model.ticket.safetensors: digests and counts agree; keeps 164 weights\n"
        "found 3 of the 3 masked parameters\n"
        "model.pruned.pt: 0 of 164 removed weights are not zero\n",
        "",
    )
    alone = cli("verify", "model.ticket.safetensors")
    assert alone.out == "model.ticket.safetensors: digests and counts agree; keeps 164 weights\n"


def test_revived_weights_exit_with_1_and_are_counted_by_layer(pair: Path, cli: Cli) -> None:
    # fault row 42
    mask = load_ticket("model.ticket.safetensors").mask["block.weight"]
    weights = load(pair / "model.pruned.pt")
    weights["block.weight"] = torch.where(mask, weights["block.weight"], 1e-9)
    save(weights, pair, "zip", "model.pruned")
    count = int((~mask).sum())
    result = cli("verify", "model.ticket.safetensors", "model.pruned.pt")
    assert result.status == 1
    assert result.out.endswith(
        f"model.pruned.pt: {count} of 164 removed weights are not zero\n"
        f"layer         revived\nblock.weight       {count}\n"
    )
    assert cli("verify", "model.ticket.safetensors", "model.pruned.pt", "-q") == Result(1, "", "")
    found = cli("verify", "model.ticket.safetensors", "model.pruned.pt", "--json")
    assert found.status == 1
    assert found.document["ok"] is False
    assert found.document["checkpoint"]["revived_layers"] == {"block.weight": count}


def test_json_is_one_document(pair: Path, cli: Cli) -> None:
    result = cli("verify", "model.ticket.safetensors", "model.pruned.pt", "--json")
    assert result.document["schema"] == "ticketkit.verify/1"
    assert result.document["ok"] is True
    assert result.err == ""


def test_an_altered_ticket_exits_with_3_and_names_the_tensor(pair: Path, cli: Cli) -> None:
    # fault row 10
    path = pair / "model.ticket.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 0x40
    path.write_bytes(data)
    result = cli("verify", path.name)
    assert (result.status, result.out) == (3, "")
    assert result.err.startswith(f"error: {path.name}: stem.weight: altered: expected sha256 ")


def test_what_does_not_fit_exits_with_3(pair: Path, cli: Cli) -> None:
    # fault row 12
    save({"a.weight": torch.ones(2, 2)}, pair, "zip", "other")
    result = cli("verify", "model.ticket.safetensors", "other.pt")
    assert result.status == 3
    assert "the mask does not fit: of its 3 parameters 3 are missing" in result.err
