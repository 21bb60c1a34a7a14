"""A data set under attack: every picture perturbed so as to raise a network's loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from ticketkit.attacks import attack
from ticketkit.batching import batches_of
from ticketkit.inference import placed
from ticketkit.seeds import seed_of
from ticketkit.threats import ThreatModel

if TYPE_CHECKING:
    from ticketkit.parts import Dataset


def attacked(
    model: torch.nn.Module,
    data: Dataset,
    threat: ThreatModel,
    seed: int = 0,
    *,
    batch: int = 200,
) -> Iterator[tuple[torch.Tensor, Any]]:
    """Batches (inputs, targets) of a data set, on the network's device, each input attacked.

    Batches are of at most `batch` pictures. Each picture starts in a place of its own, which no
    network and no other size of batches changes.
    """
    first = 0
    for inputs, targets in batches_of(data, batch):
        inputs = placed(inputs, model)
        targets = targets.to(inputs.device)
        indices = range(first, first + len(inputs))
        starts = [torch.Generator().manual_seed(seed_of(seed, "attack", i)) for i in indices]
        yield attack(model, inputs, targets, threat, generator=starts), targets
        first += len(inputs)
