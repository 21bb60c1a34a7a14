"""Where weights come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import ticketkit
from ticketkit import Layer
from ticketkit.sources import source_of


def test_a_network_and_its_checkpoint_have_one_digest_and_one_ticket(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3))
    torch.save(network.state_dict(), tmp_path / "w.pt")
    checkpoint = ticketkit.open_checkpoint(tmp_path / "w.pt")
    assert source_of(network).digest() == source_of(checkpoint).digest()
    drawn = ticketkit.draw(network, scheme="kernel", sparsity=0.6, digest=True)
    assert drawn == ticketkit.draw(checkpoint, scheme="kernel", sparsity=0.6)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.ones(2, 2, device="meta"), "load weights first"),
        (torch.ones(2, 2, dtype=torch.int32), r"int32 weights cannot be ranked"),
        (torch.ones(2, 2).to_sparse(), r"torch\.sparse_coo weights cannot be ranked"),
    ],
)
def test_weights_without_values_to_rank_are_refused(weight: torch.Tensor, message: str) -> None:
    network = nn.Linear(2, 2)
    network.weight = nn.Parameter(weight, requires_grad=False)
    with pytest.raises(ticketkit.WeightsError, match=message):
        source_of(network).weight(Layer("weight", (2, 2)))
