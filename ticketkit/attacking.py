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

_BATCH = 200


def attacked(
    model: torch.nn.Module, data: Dataset, threat: ThreatModel, seed: int = 0
) -> Iterator[tuple[torch.Tensor, Any]]:
    """Batches (inputs, targets) of a data set, on the network's device, each input attacked.

    The size of batches is a fixed one, so that every network is attacked from the same starts.
    """
    for number, (inputs, targets) in enumerate(batches_of(data, _BATCH)):
        inputs = placed(inputs, model)
        targets = targets.to(inputs.device)
        generator = torch.Generator().manual_seed(seed_of(seed, "attack", number))
        yield attack(model, inputs, targets, threat, generator=generator), targets
