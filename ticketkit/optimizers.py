"""The optimizer that a schedule asks for: any of torch's that steps by plain gradients."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ticketkit.errors import UsageError, near, printable

if TYPE_CHECKING:
    from ticketkit.schedules import Schedule

_REFUSED = {
    "lbfgs": "it evaluates the loss several times a step, by a closure",
    "sparseadam": "it takes sparse gradients alone, and those of a network are dense",
}


def optimizer_of(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The schedule's optimizer over what requires gradients; weight decay on what it says."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise UsageError("nothing to train: no parameter of the network requires gradients")
    spared = [p for p in trained if schedule.decays == "matrices" and p.dim() < 2]
    others = {id(parameter) for parameter in spared}
    decayed = [parameter for parameter in trained if id(parameter) not in others]
    kind = optimizer_class(schedule.optimizer)
    known = inspect.signature(kind).parameters
    groups = [
        {"params": parameters, **({"weight_decay": decay} if "weight_decay" in known else {})}
        for parameters, decay in ((decayed, schedule.weight_decay), (spared, 0.0))
        if parameters
    ]
    wanted: dict[str, Any] = {"momentum": schedule.momentum, "nesterov": schedule.nesterov}
    options = {name: value for name, value in wanted.items() if name in known}
    try:
        return kind(groups, lr=schedule.lr, **options)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:  # such as a Muon's, of parameters that are no matrices
        raise UsageError(f"optimizer {kind.__name__}: {printable(str(error))}") from error


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """The class of torch.optim of this name, in any case; a `UsageError` where it cannot serve."""
    found = _of_torch()
    lower = name.lower() if isinstance(name, str) else ""
    if lower in _REFUSED:
        raise UsageError(f"optimizer {found[lower].__name__} cannot train here: {_REFUSED[lower]}")
    if lower not in found:
        known = ", ".join(sorted(set(found) - set(_REFUSED)))
        shown = printable(repr(name))
        raise UsageError(f"unknown optimizer {shown}; choose from {known}{near(lower, found)}")
    return found[lower]


def _of_torch() -> dict[str, type[torch.optim.Optimizer]]:
    base = torch.optim.Optimizer
    classes = [each for each in vars(torch.optim).values() if inspect.isclass(each)]
    return {
        each.__name__.lower(): each
        for each in classes
        if issubclass(each, base) and each is not base
    }
