"""Tickets as plain data, and the notes on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.samples import save
from ticketkit import Mask, Ticket, draw
from ticketkit.checkpoint import open_checkpoint
from ticketkit.describe import notes_on, ticket_document
from ticketkit.prunable import Counts
from ticketkit.ticket import Provenance


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 1), nn.Linear(8, 4))


def test_the_document_is_plain_data_and_its_counts_agree() -> None:
    ticket = draw(network(), scheme="kernel", sparsity=0.5)
    document = ticket_document(ticket)
    assert json.loads(json.dumps(document)) == document
    counts = document["counts"]
    assert counts["kept"] + counts["removed"] == counts["prunable"]
    assert sum(layer["kept"] for layer in document["layers"]) == counts["kept"]
    assert sum(layer["weights"] for layer in document["layers"]) == counts["prunable"]
    assert document["sparsity"]["reached"]["prunable"] == counts["removed"] / counts["prunable"]
    first = document["layers"][0]
    assert first["name"] == "0.weight"
    assert first["shape"] == [4, 3, 3, 3]
    assert first["block"] == [1, 1, 3, 3]
    assert first["sparsity"] == 1 - first["kept"] / 108


def test_layers_are_in_the_order_in_which_people_count() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(11)])
    layers = ticket_document(draw(model, scheme="unstructured", sparsity=0.5))["layers"]
    assert [layer["name"] for layer in layers] == [f"{i}.weight" for i in range(11)]


def test_a_layer_without_weights_has_no_sparsity() -> None:
    # fault row 27
    mask = Mask({"empty": torch.ones(0, 3), "one": [True]})
    provenance = Provenance("x", "x", "x", "x", 0, 0)
    document = ticket_document(Ticket(mask, provenance, Counts(1, 1, 1)))
    assert [layer["sparsity"] for layer in document["layers"]] == [0, 0]


def test_a_note_tells_where_a_block_is_a_single_weight() -> None:
    assert notes_on(draw(network(), scheme="row", sparsity=0.5)) == [
        "in 2 of 3 layers (37.2% of the prunable weights: 1x1 convolutions, linear layers) a "
        "block of scheme row is one weight"
    ]
    assert notes_on(draw(network(), scheme="unstructured", sparsity=0.5)) == []
    assert notes_on(draw(network(), scheme="channel", sparsity=0.25)) == []


@pytest.mark.parametrize(("scheme", "count"), [("channel", 1), ("kernel", 0), ("unstructured", 0)])
def test_a_note_tells_that_a_file_does_not_tell_transposed_convolutions_apart(
    scheme: str, count: int, tmp_path: Path
) -> None:
    # fault row 35
    path = save({"up.weight": torch.randn(4, 4, 3, 3)}, tmp_path, "safetensors")
    notes = notes_on(draw(open_checkpoint(path), scheme=scheme, sparsity=0.5))
    assert len(notes) == count
    assert all("the first axis of every weight was taken for its outputs" in n for n in notes)


def test_a_network_of_a_file_tells_transposed_convolutions_apart(tmp_path: Path) -> None:
    # fault row 35
    path = save({"up.weight": torch.randn(4, 4, 3, 3)}, tmp_path, "safetensors")
    ticket = draw(open_checkpoint(path), scheme="channel", sparsity=0.5)
    told = replace(ticket.provenance, task="digits")  # the network of a file ran on its data
    assert notes_on(replace(ticket, provenance=told)) == []


def test_a_note_tells_tied_parameters() -> None:
    # fault row 31
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    ticket = draw(model, scheme="unstructured", sparsity=0.5)
    assert notes_on(ticket) == ["tied, counted and masked once: 0.weight = 2.weight"]
    assert ticket_document(ticket)["layers"][0]["tied"] == ["2.weight"]
