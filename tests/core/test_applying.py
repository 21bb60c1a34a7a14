"""From a ticket to a pruned file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import ticketkit
from tests.samples import FORMS, load, names, request, save, state
from ticketkit import (
    CheckpointError,
    MismatchError,
    TicketError,
    load_ticket,
)
from ticketkit.applying import apply
from ticketkit.checkpoint import open_checkpoint
from ticketkit.pruning import prune


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint and its ticket."""
    source = save(state(), tmp_path, "safetensors")
    prune(request(source, output=None))
    return source, tmp_path / "ticket.safetensors"


@pytest.mark.parametrize("form", FORMS)
def test_a_ticket_applies_to_its_weights_in_any_form(
    form: str, drawn: tuple[Path, Path], tmp_path: Path
) -> None:
    _, ticket = drawn
    (tmp_path / "other").mkdir()
    source = save(state(), tmp_path / "other", form)
    target = tmp_path / f"y{source.suffix}"
    document = apply(ticket, source, target)
    assert document["schema"] == "ticketkit.apply/1"
    assert document["counts"]["removed"] == load_ticket(ticket).removed
    mask = load_ticket(ticket).mask
    for name, tensor in load(target).items():
        expected = state()[name] * mask[name] if name in mask else state()[name]
        assert tensor.equal(expected)


def test_apply_writes_what_prune_wrote(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    source, ticket = drawn
    prune(request(source, force=True))
    apply(ticket, source, tmp_path / "applied.safetensors")
    applied = (tmp_path / "applied.safetensors").read_bytes()
    assert applied == (tmp_path / "pruned.safetensors").read_bytes()


def test_other_weights_are_refused_unless_asked_for(
    drawn: tuple[Path, Path], tmp_path: Path
) -> None:
    other = save(state(1), tmp_path, "zip")
    target = tmp_path / "y.pt"
    with pytest.raises(MismatchError, match="these are other weights than those the ticket was"):
        apply(drawn[1], other, target)
    assert not target.exists()
    apply(drawn[1], other, target, verify=False)
    mask = load_ticket(drawn[1]).mask
    assert load(target)["stem.weight"].equal(state(1)["stem.weight"] * mask["stem.weight"])


@pytest.mark.parametrize("verify", [True, False])
def test_another_architecture_is_refused_with_the_differences(
    verify: bool, drawn: tuple[Path, Path], tmp_path: Path
) -> None:
    # fault row 12
    weights = state()
    weights["stems.weight"] = weights.pop("stem.weight")
    weights["block.weight"] = torch.ones(8, 4, 1, 1)
    with pytest.raises(MismatchError) as caught:
        apply(drawn[1], save(weights, tmp_path, "zip"), tmp_path / "y.pt", verify=verify)
    assert str(caught.value) == (
        "the mask does not fit: of its 3 parameters 1 are missing and 1 have another shape: "
        "block.weight: [8, 8, 1, 1] in the mask, [8, 4, 1, 1] found, stem.weight (not found; did "
        "you mean 'stems.weight'?)"
    )
    assert not (tmp_path / "y.pt").exists()


def test_where_no_key_matches_nothing_is_written(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    # fault row 15
    weights = {f"net.{name}": tensor for name, tensor in state().items()}
    with pytest.raises(MismatchError, match="of its 3 parameters 3 are missing"):
        apply(drawn[1], save(weights, tmp_path, "zip"), tmp_path / "y.pt", verify=False)
    assert not (tmp_path / "y.pt").exists()


def test_a_checkpoint_in_the_place_of_the_ticket_is_told(
    drawn: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(TicketError, match="a safetensors file, but not a ticket"):
        apply(drawn[0], save(state(), tmp_path, "zip"), tmp_path / "y.pt")


def test_a_ticket_in_the_place_of_the_checkpoint_is_told(
    drawn: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="a ticket, where a checkpoint was expected"):
        apply(drawn[1], drawn[1], tmp_path / "y.safetensors")


def test_a_tied_weight_is_zero_under_each_of_its_names(tmp_path: Path) -> None:
    # fault row 31
    tied = torch.randn(6, 4)
    source = save({"b.weight": tied, "a.weight": tied, "c.weight": tied.clone()}, tmp_path, "zip")
    document = prune(request(source))
    assert document["counts"]["prunable"] == 48
    assert "tied, counted and masked once: a.weight = b.weight" in document["notes"]
    written = load(tmp_path / "pruned.pt")
    assert written["a.weight"].data_ptr() == written["b.weight"].data_ptr()
    apply(tmp_path / "ticket.safetensors", source, tmp_path / "again.pt")
    again = load(tmp_path / "again.pt")
    assert all(again[name].equal(written[name]) for name in written)
    untied = save({n: t.clone() for n, t in load(source).items()}, tmp_path, "safetensors", "free")
    apply(tmp_path / "ticket.safetensors", untied, tmp_path / "free.pruned.safetensors")
    freed = load(tmp_path / "free.pruned.safetensors")
    assert all(freed[name].equal(written[name]) for name in written)


def test_tensors_that_cannot_be_converted_are_told_before_anything_is_written(
    tmp_path: Path,
) -> None:
    weights = {"a.weight": torch.randn(4, 4), "b": torch.ones(2, dtype=torch.complex128)}
    source = save(weights, tmp_path, "zip")
    with pytest.raises(CheckpointError, match="safetensors cannot hold b"):
        prune(request(source, output=tmp_path / "y.safetensors"))
    assert names(tmp_path) == ["model.pt"]


# --- what may be missing


def test_a_checkpoint_may_lack_what_is_allowed_to_be_missing(
    drawn: tuple[Path, Path], tmp_path: Path
) -> None:
    weights = state()
    del weights["stem.weight"]
    source = save(weights, tmp_path, "zip", "part")
    with pytest.raises(MismatchError, match=r"of its 3 parameters 1 are missing"):
        apply(drawn[1], source, tmp_path / "y.pt", verify=False)
    with pytest.raises(MismatchError, match="1 are missing"):
        apply(drawn[1], source, tmp_path / "y.pt", verify=False, allow_missing=["block.*"])
    document = apply(drawn[1], source, tmp_path / "y.pt", verify=False, allow_missing=["stem.*"])
    assert document["parameters"] == {"matched": 2, "masked": 3}
    mask = load_ticket(drawn[1]).mask
    assert load(tmp_path / "y.pt")["block.weight"].equal(
        state()["block.weight"] * mask["block.weight"]
    )


def test_not_everything_may_be_missing(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    # fault row 15
    source = save({"other.weight": torch.ones(3, 3)}, tmp_path, "zip", "other")
    with pytest.raises(MismatchError, match="none of the 3 masked parameters is there"):
        apply(drawn[1], source, tmp_path / "y.pt", verify=False, allow_missing=["*"])
    assert not (tmp_path / "y.pt").exists()


def test_what_has_another_shape_is_not_missing(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    source = save({**state(), "stem.weight": torch.ones(3, 3)}, tmp_path, "zip", "other")
    with pytest.raises(MismatchError, match="1 have another shape"):
        apply(drawn[1], source, tmp_path / "y.pt", verify=False, allow_missing=["*"])


def test_a_ticket_that_records_no_weights_says_that_nothing_was_checked(tmp_path: Path) -> None:
    ticket = ticketkit.draw(open_checkpoint(save(state(), tmp_path, "zip")), **DRAW)
    bare = dataclasses.replace(
        ticket, provenance=dataclasses.replace(ticket.provenance, source=None)
    )
    bare.save(tmp_path / "bare.safetensors")
    document = apply(tmp_path / "bare.safetensors", tmp_path / "model.pt", tmp_path / "y.pt")
    assert document["notes"][0].startswith("the ticket does not record its weights")


DRAW: Any = {"scheme": "row", "sparsity": 0.5}
