"""The ticket: what it knows of itself, and what it is compared with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

import ticketkit
from tests.samples import leftovers, names, save, state
from ticketkit import Mask, MismatchError, OutputError, Ticket, UsageError, draw, load_ticket
from ticketkit.checkpoint import open_checkpoint
from ticketkit.prunable import Counts
from ticketkit.ticket import Provenance

PROVENANCE = Provenance("unstructured", "magnitude", "global", "omp", 0.5, 0)


def ticket(**keeps: object) -> Ticket:
    mask = Mask(keeps)
    return Ticket(mask, PROVENANCE, Counts(mask.size, 2 * mask.size, 4 * mask.size))


def test_a_ticket_knows_what_it_removed_over_three_denominators() -> None:
    made = ticket(a=[True, False, False, False], b=[True, True, False, True])
    assert made.removed == 4
    assert made.reached() == {"prunable": 0.5, "weights": 0.25, "parameters": 0.125}


def test_a_ticket_of_nothing_has_removed_nothing() -> None:
    made = ticket()
    assert made.removed == 0
    assert set(made.reached().values()) == {0.0}


def test_tied_names_are_masked_where_the_other_file_has_them() -> None:
    # fault row 31
    mask = Mask({"a": [True, False]})
    made = Ticket(mask, PROVENANCE, Counts(2, 2, 2), {"a": ("b", "c")})
    assert set(made.mask_for({"a", "c", "d"})) == {"a", "c"}
    assert made.mask_for({"a", "c"})["c"].tolist() == [True, False]
    assert made.mask_for(set()) == mask


def test_other_weights_are_refused_by_their_digest(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save(state(), tmp_path, "safetensors"))
    made = draw(checkpoint, scheme="unstructured", sparsity=0.5)
    made.check_source(checkpoint.digest())
    with pytest.raises(MismatchError, match=r"expected sha256 \w{64}, found abc \(--no-verify"):
        made.check_source("abc")


def test_a_ticket_of_a_live_network_fits_any_weights() -> None:
    made = draw(nn.Linear(4, 4), scheme="unstructured", sparsity=0.5)
    assert made.provenance.source is None
    made.check_source("whatever")


def test_a_ticket_tells_who_made_it_and_nothing_of_where_or_when(tmp_path: Path) -> None:
    path = save(state(), tmp_path, "safetensors")
    made = draw(open_checkpoint(path), scheme="row", sparsity=0.5, seed=7, include="fc.weight")
    assert made.made_by == ticketkit.__version__
    assert made.provenance.scheme == "row"
    assert made.provenance.seed == 7
    assert made.provenance.include == ("fc.weight",)
    assert {"ticketkit", "torch", "numpy"} <= set(made.provenance.versions)
    text = made.encoded().decode(errors="replace")
    for secret in (str(tmp_path), path.name, os.uname().nodename, str(Path.home())):
        assert secret not in text


def test_saving_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")
    made = ticket(a=[True, False])
    made.save(path)
    made.save(str(path))
    assert path.read_bytes() == made.encoded()
    assert load_ticket(str(path)).mask == made.mask
    assert leftovers(tmp_path) == []


def test_an_encoding_that_is_unknown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown encoding 'zip'; choose from packed"):
        ticket(a=[True]).save(tmp_path / "x.safetensors", encoding="zip")
    assert names(tmp_path) == []


def test_where_no_ticket_can_be_written_is_told(tmp_path: Path) -> None:
    # fault row 50
    with pytest.raises(OutputError, match="no such folder"):
        ticket(a=[True]).save(tmp_path / "nowhere" / "x.safetensors")
    with pytest.raises(OutputError, match="a folder, where a file is to be written"):
        ticket(a=[True]).save(tmp_path)


def test_a_loaded_ticket_applies_to_the_network_that_it_was_drawn_from(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 3, groups=2))
    made = draw(model, scheme="channel", sparsity=0.5)
    made.save(tmp_path / "x.safetensors")
    found = load_ticket(tmp_path / "x.safetensors")
    assert found == made
    found.mask.apply_(model)
    for name, parameter in model.named_parameters():
        if name in made.mask:
            assert not parameter[~made.mask[name]].any()
    assert torch.equal(found.mask["1.weight"], made.mask["1.weight"])
