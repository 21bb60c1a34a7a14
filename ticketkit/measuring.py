"""What a trained network is measured by: the task's own metric, clean and under attack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Subset

from ticketkit.attacks import attack
from ticketkit.batching import batches_of
from ticketkit.evaluation import evaluate
from ticketkit.parts import Task
from ticketkit.seeds import order, seed_of
from ticketkit.stacking import pixels
from ticketkit.threats import ThreatModel

if TYPE_CHECKING:
    from ticketkit.parts import Dataset

ATTACKED = 400
"""How many pictures of the test set, the same ones for every network, are attacked."""
_BATCH = 200


def measured(
    model: torch.nn.Module, data: Dataset, task: Task, threat: ThreatModel, seed: int
) -> dict[str, Any]:
    """The task's metric on the test pictures, and on `ATTACKED` of them under attack.

    Of classifiers both accuracies, as papers seldom say which of them they mean.
    """
    both = () if task.segmentation else ("accuracy", "per-class-accuracy")
    clean = evaluate(model, data, list(dict.fromkeys((task.metric, *both))))
    adversarial = evaluate(model, attacked(model, data, threat, seed), [task.metric])
    return {
        **{name: asdict(found) for name, found in clean.items()},
        f"adversarial_{task.metric}": {
            **asdict(adversarial[task.metric]),
            "attack": threat.spec(),
            "seed": seed,
        },
    }


def attacked(
    model: torch.nn.Module, data: Dataset, threat: ThreatModel, seed: int
) -> Iterator[tuple[torch.Tensor, Any]]:
    """Batches of `ATTACKED` pictures, each perturbed so as to raise the network's loss.

    The same pictures, in an order of their own as data may be sorted by class, and the same random
    starts for every network.
    """
    device = next(model.parameters()).device
    chosen = order(0, 0, len(data))[:ATTACKED].tolist()  # type: ignore[arg-type]
    for number, (inputs, targets) in enumerate(batches_of(Subset(data, chosen), _BATCH)):
        inputs, targets = pixels(inputs.to(device)), targets.to(device)
        generator = torch.Generator().manual_seed(seed_of(seed, "attack", number))
        yield attack(model, inputs, targets, threat, generator=generator), targets
