"""`ticketkit apply`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Result
from tests.samples import FORMS, load, names, save, state
from ticketkit import draw, load_ticket
from ticketkit.checkpoint import open_checkpoint


@pytest.fixture
def source(folder: Path) -> Path:
    """The sample weights, and a ticket of them."""
    path = save(state(), folder, "safetensors")
    draw(open_checkpoint(path), scheme="row", sparsity=0.5).save("t.safetensors")
    return path


def test_the_pruned_file_goes_to_the_current_folder_and_is_told(
    source: Path, cli: Cli, folder: Path
) -> None:
    (folder / "far").mkdir()
    source.rename(folder / "far" / source.name)
    result = cli("apply", "t.safetensors", "far/model.safetensors")
    assert result.status == 0
    kept = load_ticket("t.safetensors").mask.kept
    assert result.out == (
        f"far/model.safetensors: safetensors\nfound 3 of the 3 masked parameters\n"
        f"kept {kept} weights, removed {328 - kept}\n"
        "wrote model.pruned.safetensors\n"
    )
    assert names(folder) == ["far", "model.pruned.safetensors", "t.safetensors"]


@pytest.mark.parametrize("form", FORMS)
def test_a_ticket_applies_to_the_same_weights_in_any_form(
    form: str, source: Path, cli: Cli, folder: Path
) -> None:
    path = save(state(), folder, form, "other")
    assert cli("apply", "t.safetensors", path.name, "-o", f"x{path.suffix}").status == 0
    mask = load_ticket("t.safetensors").mask
    written = load(folder / f"x{path.suffix}")
    assert written["stem.weight"].equal(state()["stem.weight"] * mask["stem.weight"])


def test_json_and_quiet(source: Path, cli: Cli, folder: Path) -> None:
    document = cli("apply", "t.safetensors", source.name, "--json").document
    assert document["schema"] == "ticketkit.apply/1"
    assert document["output"] == "model.pruned.safetensors"
    assert cli("apply", "t.safetensors", source.name, "--force", "-q") == Result(0, "", "")


def test_an_output_that_is_there_stays_unless_forced(source: Path, cli: Cli, folder: Path) -> None:
    (folder / "model.pruned.safetensors").write_bytes(b"old")
    result = cli("apply", "t.safetensors", source.name)
    assert result.status == 2
    assert (
        result.err
        == "error: already there: model.pruned.safetensors; --force replaces what is there\n"
    )
    assert (folder / "model.pruned.safetensors").read_bytes() == b"old"
    assert cli("apply", "t.safetensors", source.name, "--force").status == 0


def test_other_weights_are_refused_unless_asked_for(source: Path, cli: Cli, folder: Path) -> None:
    save(state(1), folder, "zip", "other")
    result = cli("apply", "t.safetensors", "other.pt")
    assert (result.status, result.out) == (3, "")
    assert result.err.startswith("error: these are other weights than those the ticket was drawn")
    assert "other.pruned.pt" not in names(folder)
    assert cli("apply", "t.safetensors", "other.pt", "--no-verify").status == 0


def test_another_architecture_is_refused(source: Path, cli: Cli, folder: Path) -> None:
    # fault rows 12 and 15
    weights = {f"net.{name}": tensor for name, tensor in state().items()}
    save(weights, folder, "zip", "other")
    for option in ([], ["--no-verify"]):
        result = cli("apply", "t.safetensors", "other.pt", *option)
        assert result.status == 3
        assert "of its 3 parameters 3 are missing and 0 have another shape" in result.err
        assert "block.weight (not found; did you mean 'net.block.weight'?)" in result.err
    assert "other.pruned.pt" not in names(folder)


def test_an_altered_ticket_is_refused_unless_asked_for(
    source: Path, cli: Cli, folder: Path
) -> None:
    # fault row 10
    data = bytearray((folder / "t.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "t.safetensors").write_bytes(data)
    result = cli("apply", "t.safetensors", source.name)
    assert result.status == 3
    assert "t.safetensors: stem.weight: altered" in result.err
    assert cli("apply", "t.safetensors", source.name, "--no-verify").status == 0


def test_the_ticket_and_the_checkpoint_the_wrong_way_round_are_told(
    source: Path, cli: Cli, folder: Path
) -> None:
    result = cli("apply", source.name, "t.safetensors")
    assert result.status == 3
    expected = "model.safetensors: a safetensors file, but not a ticket: no 'ticketkit' metadata"
    assert result.err == f"error: {expected}\n"
    assert names(folder) == ["model.safetensors", "t.safetensors"]


# --- tickets that carry their values


@pytest.fixture
def carrying(source: Path, cli: Cli) -> str:
    """A ticket of the sample weights that carries their values."""
    options = ("--scheme", "row", "--no-checkpoint", "--with-values", "--encoding", "rice")
    assert cli("prune", source.name, "--sparsity", 0.5, *options).status == 0
    return "model.ticket.safetensors"


def test_without_a_file_the_masked_parameters_are_written_alone(
    carrying: str, cli: Cli, folder: Path
) -> None:
    result = cli("apply", carrying)
    kept = load_ticket(carrying).mask.kept
    assert result.out == (
        f"{carrying}: its own values\nfound 3 of the 3 masked parameters\n"
        f"kept {kept} weights, removed {328 - kept}\n"
        "wrote model.pruned.safetensors\n"
    )
    assert "note: it holds the masked parameters alone" in result.err
    written = load(folder / "model.pruned.safetensors")
    mask = load_ticket(carrying).mask
    assert set(written) == set(mask)
    assert all(written[name].equal(state()[name] * mask[name]) for name in mask)
    assert cli("apply", carrying).status == 2
    assert cli("apply", carrying, "--force", "--json").document["input"] is None


def test_without_a_file_and_without_values_there_is_nothing_to_write(
    source: Path, cli: Cli, folder: Path
) -> None:
    result = cli("apply", "t.safetensors")
    assert result.status == 2
    assert result.err == (
        "error: t.safetensors carries no values (prune --with-values writes them): give the "
        "checkpoint that it is to be applied to\n"
    )
    assert names(folder) == ["model.safetensors", "t.safetensors"]


def test_options_of_a_file_need_one(carrying: str, cli: Cli) -> None:
    result = cli("apply", carrying, "--checkpoint-key", "state_dict")
    assert result.status == 2
    assert "--checkpoint-key chooses an entry of FILE" in result.err


def test_other_weights_give_way_to_the_values_on_request(
    carrying: str, cli: Cli, folder: Path
) -> None:
    save(state(1), folder, "zip", "other")
    assert cli("apply", carrying, "other.pt").status == 3
    assert cli("apply", carrying, "other.pt", "--no-verify").status == 0
    mask = load_ticket(carrying).mask
    written = load(folder / "other.pruned.pt")
    assert written["stem.weight"].equal(state()["stem.weight"] * mask["stem.weight"])
    assert written["fc.weight"].equal(state(1)["fc.weight"])


def test_it_is_written_without_torch(carrying: str, folder: Path) -> None:
    code = (
        "import sys; from ticketkit.cli import main; status = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    save(state(1), folder, "safetensors", "other")
    for arguments in ([carrying], [carrying, "other.safetensors", "--no-verify"]):
        subprocess.run([sys.executable, "-c", code, "apply", *arguments], cwd=folder, check=True)
