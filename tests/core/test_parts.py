"""The kinds of part, and what a criterion is told."""

from __future__ import annotations

import pytest
import torch

import ticketkit


def test_the_generator_depends_on_seed_and_name_alone() -> None:
    def drawn(name: str, seed: int) -> list[float]:
        context = ticketkit.Context(name, seed)
        return torch.rand(4, generator=context.generator).tolist()

    assert drawn("a", 0) == drawn("a", 0)
    assert len({tuple(drawn(n, s)) for n in ("a", "b") for s in (0, 1)}) == 4


def test_each_generator_starts_anew() -> None:
    context = ticketkit.Context("a", 0)
    one, two = context.generator, context.generator
    assert torch.rand(3, generator=one).equal(torch.rand(3, generator=two))


@pytest.mark.parametrize("kind", ["Scheme", "BlockScheme", "Criterion", "Allocation", "Strategy"])
def test_a_kind_cannot_be_made_without_its_method(kind: str) -> None:
    with pytest.raises(TypeError, match="abstract"):
        getattr(ticketkit, kind)()
