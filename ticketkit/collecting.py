"""What a criterion finds in data: collected once a draw, from a network that is left as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ticketkit.batching import pairs
from ticketkit.blame import blamed
from ticketkit.errors import InputError, UsageError, printable, some
from ticketkit.mask import unwrap
from ticketkit.modes import evaluating, same_generators
from ticketkit.parts import Criterion
from ticketkit.prunable import Survey
from ticketkit.scoring import checked, version

if TYPE_CHECKING:
    from ticketkit.parts import Batches, Loss

Statistics = Mapping[str, torch.Tensor]


def collect(
    criterion: Criterion,
    model: torch.nn.Module,
    found: Survey,
    batches: Batches,
    loss: Loss | None,
    seed: int,
) -> Statistics:
    """The criterion's statistic of each prunable parameter, in its own shape, on the CPU.

    `loss(outputs, targets)` is a scalar; cross-entropy where it is None. The network is evaluated,
    torch's generators seeded by `seed`, and everything is left as it was.
    """
    model = unwrap(model)
    if isinstance(batches, torch.Tensor) or not isinstance(batches, Iterable):
        kind = type(batches).__name__
        raise UsageError(f"batches is an iterable of (inputs, targets), found {kind}")
    with blamed(criterion), _left_alone(model, seed):
        statistics = criterion.collect(model, _Batches(batches), _Checked(loss))
        return dict(_of_layers(statistics, model, found))


def _of_layers(
    statistics: object, model: torch.nn.Module, found: Survey
) -> Iterator[tuple[str, torch.Tensor]]:
    if not isinstance(statistics, Mapping):
        kind = type(statistics).__name__
        raise TypeError(f"collect returned {kind}, where a mapping of names to tensors is expected")
    names = {name: (name, *found.aliases.get(name, ())) for name in found.layers}
    known = {name: next((n for n in tied if n in statistics), "") for name, tied in names.items()}
    if missing := [name for name, key in known.items() if not key]:
        raise ValueError(f"collect returned nothing for {some(missing)}")
    for name, key in known.items():
        shape = torch.Size(found.layers[name].own_shape)
        yield name, checked(statistics[key], shape, f"collect for {printable(name)}").detach()


class _Batches:
    """The caller's batches, each of them checked."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        empty = True
        for pair in pairs(self._batches):
            empty = False
            yield pair
        if empty:
            raise UsageError("batches is empty: at least one pair (inputs, targets) is needed")


class _Checked:
    """The caller's loss, its answers checked."""

    def __init__(self, loss: Loss | None) -> None:
        self._loss = loss or torch.nn.functional.cross_entropy
        self._count = 0

    def __call__(self, outputs: Any, targets: Any) -> torch.Tensor:
        self._count += 1
        where = f"batch {self._count}: the loss"
        try:
            value = self._loss(outputs, targets)
        except Exception as error:
            raise UsageError(f"{where} failed: {type(error).__name__}: {error}") from error
        if not isinstance(value, torch.Tensor) or value.numel() != 1 or value.is_complex():
            shape = f" of shape {list(value.shape)}" if isinstance(value, torch.Tensor) else ""
            raise UsageError(f"{where} is no real scalar: found a {type(value).__name__}{shape}")
        if not torch.isfinite(value).all():
            raise InputError(f"{where} is {value.item()}")
        if not value.requires_grad:
            raise UsageError(f"{where} does not depend on the network's parameters")
        return value.reshape(())


@contextlib.contextmanager
def _left_alone(model: torch.nn.Module, seed: int) -> Iterator[None]:
    """Evaluate the network with every parameter trainable; restore all that this changes."""
    parameters = list(model.parameters())
    before = [(parameter, parameter.requires_grad, parameter.grad) for parameter in parameters]
    tensors = [*parameters, *model.buffers()]
    versions = [version(tensor) for tensor in tensors]
    try:
        with (
            evaluating(model),
            same_generators(parameters),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            torch.manual_seed(seed)
            for parameter in parameters:
                parameter.grad = None
                differentiable = parameter.is_floating_point() or parameter.is_complex()
                parameter.requires_grad_(differentiable)
            yield
    finally:
        for parameter, required, gradient in before:
            parameter.requires_grad_(required)
            parameter.grad = gradient
    if versions != [version(tensor) for tensor in tensors]:
        raise ValueError("collect changed the network's weights or statistics")
