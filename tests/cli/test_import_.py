"""`ticketkit import`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Cli, Result
from tests.core.foreign_files import cv_lth, hidden, network, plain, pruned_by_torch
from tests.samples import names, save
from ticketkit import Mask, load_ticket


@pytest.fixture
def dense(folder: Path) -> dict[str, torch.Tensor]:
    """The weights before pruned.pt was pruned by torch, which is in the current folder."""
    model = network()
    weights = plain(model)
    pruned_by_torch(model)
    torch.save(model.state_dict(), folder / "pruned.pt")
    return weights


def test_a_file_that_torch_pruned_becomes_a_ticket_that_is_told(
    dense: dict[str, torch.Tensor], cli: Cli, folder: Path
) -> None:
    result = cli("import", "pruned.pt")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("pruned.pt: PyTorch (zip), masks of form torch-prune\n\nlayer ")
    assert result.out.endswith("\nwrote pruned.ticket.safetensors\n")
    assert "136 of 259" in result.out  # 112 of the convolutions, two rows, two biases, 14
    assert names(folder) == ["pruned.pt", "pruned.ticket.safetensors"]
    mask = load_ticket("pruned.ticket.safetensors").mask
    assert (mask.size - mask.kept, mask.size) == (136, 259)


def test_it_shows_applies_and_verifies(
    dense: dict[str, torch.Tensor], cli: Cli, folder: Path
) -> None:
    save(dense, folder, "safetensors", "dense")
    assert cli("import", "pruned.pt", "-o", "t.safetensors", "-q") == Result(0, "", "")
    assert "import:form=torch-prune" in cli("show", "t.safetensors").out
    assert cli("apply", "t.safetensors", "dense.safetensors").status == 0
    result = cli("verify", "t.safetensors", "dense.pruned.safetensors")
    assert result.status == 0
    assert "0 of 136 removed weights are not zero" in result.out
    assert cli("apply", "t.safetensors", "pruned.pt").status == 3  # NAME_orig is not NAME


def test_json(dense: dict[str, torch.Tensor], cli: Cli) -> None:
    document = cli("import", "pruned.pt", "--json").document
    assert document["schema"] == "ticketkit.import/1"
    assert document["form"] == "torch-prune"
    assert document["input"]["form"] == "PyTorch (zip)"
    assert document["ticket"] == "pruned.ticket.safetensors"
    assert document["parts"]["strategy"] == "import:form=torch-prune"
    reached = document["sparsity"]
    assert reached["reached"]["prunable"] == 136 / 259 == pytest.approx(reached["requested"])
    assert len(document["layers"]) == 5


def test_outputs_are_not_replaced_unless_forced_and_never_the_input(
    dense: dict[str, torch.Tensor], cli: Cli, folder: Path
) -> None:
    (folder / "pruned.ticket.safetensors").write_bytes(b"old")
    result = cli("import", "pruned.pt")
    assert result.status == 2
    assert "already there: pruned.ticket.safetensors; --force" in result.err
    assert (folder / "pruned.ticket.safetensors").read_bytes() == b"old"
    assert cli("import", "pruned.pt", "--force").status == 0
    before = (folder / "pruned.pt").read_bytes()
    result = cli("import", "pruned.pt", "-o", "pruned.pt", "--force")
    assert (result.status, (folder / "pruned.pt").read_bytes()) == (2, before)
    assert "the output would replace its input" in result.err
    assert cli("import", "pruned.pt", "-o", "no/where.safetensors").status == 1


def test_scores_are_read_with_their_sparsity(cli: Cli, folder: Path) -> None:
    hidden(folder / "best.pth", 3, parallel=True)
    result = cli("import", "best.pth")
    assert (result.status, names(folder)) == (2, ["best.pth"])
    assert "say the fraction to remove with --sparsity; it is 1 - prune_rate (k)" in result.err
    result = cli("import", "best.pth", "--sparsity", "0.9")
    assert result.status == 0
    assert result.err == "note: 'module.' was stripped from every name; files keep it\n"
    assert load_ticket("best.ticket.safetensors").provenance.scheme == "row"
    assert cli("import", "best.pth", "--sparsity", "x", "--force").status == 2
    assert "did you mean 0.5?" in cli("import", "best.pth", "--sparsity", "50", "--force").err


def test_a_sparsity_for_a_mask_is_refused(
    dense: dict[str, torch.Tensor], cli: Cli, folder: Path
) -> None:
    result = cli("import", "pruned.pt", "--sparsity", "0.5")
    assert (result.status, names(folder)) == (2, ["pruned.pt"])
    assert result.err == (
        "error: pruned.pt: --sparsity is for scores, and this holds a mask (form torch-prune), "
        "which is taken as it is\n"
    )


def test_an_entry_is_chosen(cli: Cli, folder: Path) -> None:
    _, masks = cv_lth(folder / "model.pth.tar", parallel=True, with_mask=True)
    assert cli("import", "model.pth.tar", "-o", "t.safetensors").status == 0
    assert cli("import", "model.pth.tar", "--checkpoint-key", "mask").status == 0
    both = [load_ticket(path) for path in ("t.safetensors", "model.pth.ticket.safetensors")]
    assert both[0].mask == both[1].mask == Mask(masks)
    assert both[0].provenance.source
    assert not both[1].provenance.source
    result = cli("import", "model.pth.tar", "--checkpoint-key", "masks", "--force")
    assert result.status == 2
    assert "did you mean 'mask'" in result.err


def test_what_is_no_mask_is_refused(cli: Cli, folder: Path) -> None:
    save(plain(network()), folder, "zip")
    result = cli("import", "model.pt")
    assert (result.status, names(folder)) == (3, ["model.pt"])
    assert "no masks of a form that is read: NAME_orig with NAME_mask" in result.err
    assert cli("import", "none.pt").status == 3
    (folder / "broken.pt").write_bytes((folder / "model.pt").read_bytes()[:-100])
    assert cli("import", "broken.pt").status == 3


@pytest.mark.parametrize("option", [[], ["--dry-run"]])
def test_prune_refuses_what_import_reads(
    option: list[str], dense: dict[str, torch.Tensor], cli: Cli, folder: Path
) -> None:  # fault row 36
    result = cli("prune", "pruned.pt", "--sparsity", "0.5", *option)
    assert (result.status, names(folder)) == (3, ["pruned.pt"])
    assert "torch.nn.utils.prune.remove ('ticketkit import' reads such masks)" in result.err
    spared = ["--exclude", "*_orig", "--include", "attention.out_proj.weight"]
    assert cli("prune", "pruned.pt", "--sparsity", "0.5", *spared, *option).status == 0
