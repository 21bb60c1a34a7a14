"""The parameters of a live network, told apart by the modules that own them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from ticketkit.computed import computed_from
from ticketkit.errors import InputError, printable
from ticketkit.prunable import Tensor


def of_network(model: torch.nn.Module) -> list[Tensor]:
    """The parameters of a network, told apart by the modules that own them."""
    roles = _roles(model)
    buffers = (name for name, _ in model.named_buffers(remove_duplicate=False))
    names: dict[int, list[str]] = {}
    parameters: dict[int, torch.nn.Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
        parameters[id(parameter)] = parameter
    calls = computed_from([*buffers, *(name for each in names.values() for name in each)])
    tensors = []
    for key, parameter in parameters.items():
        first, *others = sorted(names[key])
        reason, transposed = roles.get(key, ("not a parameter of a module", None))
        _check_initialized(first, parameter)
        undo = next((calls[name] for name in names[key] if name in calls), None)
        shape = tuple(parameter.shape)
        tensors.append(Tensor(first, shape, reason, transposed, tuple(others), undo))
    return tensors


Role = tuple[str | None, int | None]
"""Why a parameter is spared (None: it is prunable), and the groups of a transposed convolution."""


def _roles(model: torch.nn.Module) -> dict[int, Role]:
    roles: dict[int, Role] = {}
    for path, module in model.named_modules():
        _check_whole(path, module)
        for attribute, parameter in module.named_parameters(recurse=False):
            role = _role(module, attribute)
            known = roles.get(id(parameter), role)
            # A tied weight is pruned only where each of its owners would have it pruned.
            reasons = sorted({reason for reason, _ in (known, role) if reason})
            tied = "tied to " if known[0] != role[0] else ""
            transposed = role[1] if role == known else None
            roles[id(parameter)] = (tied + reasons[0] if reasons else None, transposed)
    return roles


def _role(module: torch.nn.Module, attribute: str) -> Role:
    if isinstance(module, _ConvNd | nn.Linear) and attribute == "weight":
        return None, module.groups if isinstance(module, _ConvTransposeNd) else None
    if isinstance(module, nn.MultiheadAttention) and attribute.endswith("proj_weight"):
        return None, None
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "an embedding", None
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return "a recurrent layer", None
    return "neither a convolution nor a linear layer", None


def _check_whole(path: str, module: torch.nn.Module) -> None:
    """Refuse weights that are compiled, or lie in pieces in many processes."""
    where = printable(path) or "the network"
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(
            f"{where}: a {type(module).__name__}, whose layers cannot be told apart; draw from the "
            "Python network that it was made from, and script that once it is pruned"
        )
    fsdp = type(module).__name__ == "FullyShardedDataParallel"
    if fsdp or any(
        hasattr(parameter, "full_tensor") for parameter in module.parameters(recurse=False)
    ):
        raise InputError(
            f"{where}: sharded weights; gather them first with torch.distributed.checkpoint."
            "state_dict.get_model_state_dict and StateDictOptions(full_state_dict=True)"
        )


def _check_initialized(name: str, parameter: torch.Tensor) -> None:
    if is_lazy(parameter):
        raise InputError(
            f"{printable(name)}: a lazy layer without a shape; run model(example_input) once "
            "first, which a draw does not do: it leaves the network alone"
        )
