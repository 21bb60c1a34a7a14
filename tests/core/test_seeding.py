"""Random numbers from a seed alone."""

from __future__ import annotations

import torch
from ticketkit.seeding import seeded


def test_a_seed_gives_the_same_numbers_and_leaves_the_generator_as_it_was() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    drawn = []
    for _ in range(2):
        with seeded(5):
            drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    assert torch.equal(torch.rand(3), expected)
    assert torch.initial_seed() == 7
