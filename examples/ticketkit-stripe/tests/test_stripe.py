"""What every scheme promises, and what this one does."""

import torch
from ticketkit_stripe import Stripe

import ticketkit
from ticketkit.testing import SchemeLaws


class TestStripe(SchemeLaws):
    part = Stripe(width=2)


class TestWideStripe(SchemeLaws):
    part = Stripe(width=5)


def test_neighbouring_channels_live_or_die_together() -> None:
    model = torch.nn.ModuleDict({"layer": torch.nn.Linear(1, 6)})
    weight = model.get_parameter("layer.weight").detach()
    weight.copy_(torch.tensor([[9.0], [0.0], [4.0], [4.0], [1.0], [1.0]]))
    ticket = ticketkit.draw(model, scheme=Stripe(width=2), sparsity=0.5)
    # Of three pairs with means 4.5, 4 and 1 the budget of three weights takes one.
    assert ticket.mask["layer.weight"].flatten().tolist() == [True, True, *[False] * 4]
