"""The optimizer that a schedule asks for."""

from __future__ import annotations

import torch
from torch import nn

from ticketkit.errors import UsageError
from ticketkit.schedules import Schedule


def optimizer_of(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """SGD over what requires gradients; weight decay on what the schedule says."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise UsageError("nothing to train: no parameter of the network requires gradients")
    spared = [p for p in trained if schedule.decays == "matrices" and p.dim() < 2]
    others = {id(parameter) for parameter in spared}
    decayed = [parameter for parameter in trained if id(parameter) not in others]
    groups = [
        {"params": decayed, "weight_decay": schedule.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=schedule.lr,
        momentum=schedule.momentum,
        nesterov=schedule.nesterov,
    )
