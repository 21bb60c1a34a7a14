"""The task head of a network: found by its name, and replaced for other classes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

from torch import nn

from ticketkit.errors import UsageError, printable, some
from ticketkit.mask import unwrap
from ticketkit.modes import seeded
from ticketkit.prunable import find_head
from ticketkit.roles import of_network

Network = TypeVar("Network", bound=nn.Module)
# torchvision's segmenters may have a second head, which training alone looks at.
_SECOND = "aux_"


def head_of(model: nn.Module) -> str:
    """The module path of a network's task head, such as `"fc"` or `"classifier.4"`.

    A `UsageError` that lists candidates where no layer has the name of one.
    """
    if (head := _find(model)) is None:
        last = [_path(name) or "the network itself" for name in _weights(model)][-5:]
        raise UsageError(
            "no task head by its name: a linear layer or a convolution that is called fc, "
            "classifier, head or the like; this network's last ones are "
            f"{some(reversed(last)) or 'none'}"
        )
    return head


def heads_of(model: nn.Module) -> tuple[str, ...]:
    """The module paths of the task head and, in a segmenter that has one, of the second head."""
    second = [n.removeprefix(_SECOND) for n in _weights(model) if n.startswith(_SECOND)]
    found = find_head(second)
    return (head_of(model), *([_SECOND + _path(found)] if found else []))


def has_head(model: nn.Module) -> bool:
    """Whether a layer of the network has the name of a task head."""
    return _find(model) is not None


def replace_head(model: Network, classes: int, seed: int = 0) -> Network:
    """Give a network, which is returned, a new task head for so many classes.

    The new layer is of the same kind, device and dtype, its weights torch's own initialisation
    from the seed. Raises a `UsageError` for a network without a head by name, which lists
    candidates, and for a head that is neither a linear layer nor a plain convolution.
    """
    check_count("classes", classes)
    inner = unwrap(model)
    with seeded(seed):
        for path in heads_of(inner):
            inner.set_submodule(path, _fresh(path, inner.get_submodule(path), classes))
    return model


@contextlib.contextmanager
def only_heads(model: nn.Module) -> Iterator[None]:
    """Freeze all but the task heads; afterwards each parameter requires what it did."""
    required = {parameter: parameter.requires_grad for parameter in model.parameters()}
    heads = [model.get_submodule(path) for path in heads_of(model)]
    ours = {id(parameter) for head in heads for parameter in head.parameters()}
    try:
        for parameter in required:
            parameter.requires_grad_(id(parameter) in ours)
        yield
    finally:
        for parameter, before in required.items():
            parameter.requires_grad_(before)


def check_count(name: str, value: object) -> None:
    """Raise a `UsageError` unless a value is a whole number of 1 or more."""
    if type(value) is not int or value < 1:
        raise UsageError(f"{name} is a whole number of 1 or more, found {value!r}")


def _fresh(path: str, old: nn.Module, classes: int) -> nn.Module:
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    elif isinstance(old, nn.Conv1d | nn.Conv2d) and old.groups == 1:
        kind = nn.Conv1d if isinstance(old, nn.Conv1d) else nn.Conv2d
        geometry = (old.kernel_size, old.stride, old.padding, old.dilation)
        new = kind(old.in_channels, classes, *geometry, bias=old.bias is not None)  # type: ignore[arg-type]
    else:
        raise UsageError(
            f"the head {printable(path)} is a {type(old).__name__}: expected a linear layer or a "
            "convolution without groups"
        )
    return new.to(old.weight.device, old.weight.dtype).train(old.training)


def _find(model: nn.Module) -> str | None:
    found = find_head(_weights(model))
    return None if found is None else _path(found)


def _weights(model: nn.Module) -> list[str]:
    """The names of the weights of linear layers and convolutions, in the network's order."""
    return list(_names(unwrap(model)))


def _names(model: nn.Module) -> Iterator[str]:
    for tensor in of_network(model):
        if tensor.reason is None:
            yield from (tensor.name, *tensor.aliases)


def _path(name: str) -> str:
    return name.rpartition(".")[0]
