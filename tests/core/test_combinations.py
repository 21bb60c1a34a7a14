"""Strategies that train, with every scheme, criterion, allocation and robustifier: in pairs.

A few draws hold every pair of choices that have a meaning together; what has none is refused
before any work.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import ticketkit
from tests.core.networks import pictures

CHOICES = {
    "strategy": (
        "imp:rate=0.5",
        "imp:rate=0.5,rewind=1",
        "imp:rate=0.5,train_first=true",
        "lmp",
        "lmp:start=kaiming",
        "lmp:start=weight_scaled",
        "lmp:start=hydra",
    ),
    "scheme": ("unstructured", "row", "kernel", "channel", "nm:n=2,m=4"),
    "criterion": ("magnitude", "random", "taylor"),
    "allocation": ("global", "uniform", "erk", "lamp", None),
    "robustifier": (None, "pgd:norm=l2,eps=0.5,steps=1", "smoothing", "free:replays=2"),
    "optimizer": ("sgd", "adam"),
}
Draw = dict[str, Any]
SCHEDULE = "small:epochs=0,steps=2,batch=8,optimizer="


def why_not(draw: Draw) -> str:
    """The words of the refusal of a draw that has no meaning; none for one that has."""
    strategy, scheme = draw["strategy"], draw["scheme"]
    if strategy.startswith("imp") and scheme.startswith("nm"):
        return "scheme nm has one sparsity"
    if strategy.startswith("lmp:") and draw["criterion"] != "magnitude":
        return "begins with lots or magnitudes"
    if scheme.startswith("nm") and draw["allocation"] == "lamp":
        return "ranks scores as they are"
    if scheme.startswith("nm") and draw["allocation"] == "erk":
        return "shares otherwise"
    return ""


def pairs_of(draw: Draw) -> set[tuple[Any, ...]]:
    return set(itertools.combinations(sorted(draw.items(), key=lambda item: item[0]), 2))


def in_pairs(draws: list[Draw]) -> Iterator[Draw]:
    """As few of these draws as hold all pairs of them, near enough: the richest one each time."""
    left = set().union(*map(pairs_of, draws))
    while left:
        best = max(draws, key=lambda draw: len(pairs_of(draw) & left))
        left -= pairs_of(best)
        yield best


ALL = [dict(zip(CHOICES, found, strict=True)) for found in itertools.product(*CHOICES.values())]
DRAWS = list(in_pairs([draw for draw in ALL if not why_not(draw)]))
REFUSED = list(in_pairs([{**draw, "robustifier": None} for draw in ALL if why_not(draw)]))


def spelt(draw: Draw) -> str:
    return "-".join(str(value) for value in draw.values())


class Net(nn.Module):
    """Convolutions of several shapes, one of them transposed, one pointwise, one by groups."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 2, groups=2),
            nn.ConvTranspose2d(8, 12, 2, groups=2),
            nn.ReLU(),
            nn.Conv2d(12, 8, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.fc = nn.Linear(8, 3)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.body(pictures))
        return found


def drawn(draw: Draw, data: Any) -> ticketkit.Ticket:
    parts = {name: value for name, value in draw.items() if name != "optimizer"}
    batches = [(data.images[:8].float() / 255, data.targets[:8])] if data is not None else None
    return ticketkit.draw(
        Net(),
        sparsity=None if draw["scheme"].startswith("nm") else 0.6,
        data=data,
        schedule=SCHEDULE + draw["optimizer"],
        batches=batches if draw["criterion"] == "taylor" else None,
        **parts,
    )


@pytest.mark.parametrize("draw", DRAWS, ids=spelt)
def test_what_has_a_meaning_is_drawn_to_its_count_again_and_again(draw: Draw) -> None:
    ticket = drawn(draw, pictures(16))
    assert drawn(draw, pictures(16)) == ticket
    size, sparsity = ticket.mask.size, ticket.provenance.sparsity
    budget = size - round(sparsity * size)
    assert ticket.mask.kept <= budget + len(ticket.mask)  # shares are rounded layer by layer
    if draw["scheme"] == "unstructured" and draw["allocation"] in ("global", "erk", "lamp"):
        assert ticket.mask.kept == budget
    assert all(sparsity < 1 for sparsity in ticket.mask.layer_sparsity().values())
    allocation = draw["allocation"] or ("uniform" if "lmp" in draw["strategy"] else "global")
    assert ticket.provenance.allocation == allocation


@pytest.mark.parametrize("draw", REFUSED, ids=spelt)
def test_what_has_none_is_refused_before_any_work(draw: Draw) -> None:
    class Untouched:
        """Data that nobody may look at."""

        images = targets = torch.zeros(8, 1)

        def __len__(self) -> int:
            raise AssertionError("it was looked at")

        __getitem__ = __len__

    with pytest.raises(ticketkit.UsageError, match=why_not(draw)):
        drawn(draw, Untouched())
