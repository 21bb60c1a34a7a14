"""A network that looks at data and is left as it was."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from ticketkit.batching import batches_of
from ticketkit.errors import (
    EvaluationError,
    TicketkitError,
    UsageError,
    is_out_of_memory,
    printable,
    some,
)
from ticketkit.modes import evaluating, same_generators
from ticketkit.stacking import pixels

if TYPE_CHECKING:
    from ticketkit.parts import Batches, Dataset


@contextlib.contextmanager
def evaluated(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode and no gradients; the modes and torch's generators are restored, come what may.

    A caller's inference mode is left meanwhile: what it makes can be neither counted nor changed.
    """
    generators = same_generators(_tensors(model))
    with evaluating(model), generators, torch.inference_mode(False), torch.no_grad():
        yield


@contextlib.contextmanager
def as_found(model: torch.nn.Module) -> Iterator[None]:
    """Refuse that the block changes a weight, a statistic, a gradient or a mode.

    Values that are permuted through `.data` are not noticed.
    """
    before = _state(model)
    yield
    after = _state(model)
    if changed := [name for name in before if after.get(name) != before[name]]:
        raise ValueError(f"evaluate changed the network: {some(changed)}")


def _state(model: torch.nn.Module) -> dict[str, tuple[Any, ...]]:
    """What tells that a tensor or a mode was changed, by name."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    found: dict[str, tuple[Any, ...]] = {
        name: (
            id(tensor),
            None if tensor.is_inference() else tensor._version,
            _content(tensor),
            tensor.requires_grad,
            None if tensor.grad is None else (id(tensor.grad), tensor.grad._version),
        )
        for name, tensor in tensors.items()
    }
    return found | {f"the mode of {n}": (m.training,) for n, m in model.named_modules()}


def _content(tensor: torch.Tensor) -> int | None:
    """What tells of writes through `.data`, which no version counts; None of odd tensors."""
    try:
        return int(torch.hash_tensor(tensor.detach()))
    except (RuntimeError, NotImplementedError):
        return None


def outputs_of(
    model: torch.nn.Module, data: Dataset | Batches, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The network's outputs, (batch, ...), and the targets of each batch, on its device."""
    first = 0
    for inputs, targets in batches_of(data, batch):
        outputs = forward(model, inputs, first)
        targets = as_targets(targets, outputs.device)
        if not len(inputs) == len(outputs) == len(targets):
            raise EvaluationError(
                f"samples {first} to {first + len(inputs) - 1}: the network made {len(outputs)} "
                f"outputs of {len(inputs)} inputs with {len(targets)} targets"
            )
        yield outputs, targets
        first += len(inputs)


def forward(model: torch.nn.Module, inputs: torch.Tensor, first: int) -> torch.Tensor:
    """The network's outputs for a batch that is brought to its device, and to its dtype.

    Pictures in uint8 are divided by 255. `first` is the index of the batch's first sample in the
    pass: errors name the samples by it.
    """
    return called(model, inputs, f"samples {first} to {first + len(inputs) - 1}")


def called(model: torch.nn.Module, inputs: torch.Tensor, where: str) -> torch.Tensor:
    """The same, where errors name the samples by `where`."""
    try:
        outputs = model(placed(inputs, model))
    except Exception as error:
        if is_out_of_memory(error):
            raise TicketkitError(f"{where}: out of memory; a smaller batch needs less") from error
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise UsageError(f"{where}: the network failed on its inputs: {reason}") from error
    if not isinstance(outputs, torch.Tensor) or not outputs.dim():
        kind = type(outputs).__name__
        raise UsageError(f"{where}: the network returned {kind}, where a tensor is expected")
    return _countable(outputs)


def _countable(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of what was made in inference mode: its changes are not counted."""
    return tensor.clone() if tensor.is_inference() else tensor


def placed(inputs: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    """A batch on the network's device, in its dtype, and in [0, 1] where it is in uint8.

    Of a network without tensors it stays where it is; whole numbers other than uint8 stay whole.
    """
    tensor = next((t for t in _tensors(model) if t.is_floating_point()), inputs)
    inputs = pixels(inputs.to(tensor.device))
    floats = inputs.is_floating_point() and tensor.is_floating_point()
    return inputs.to(tensor.dtype) if floats else inputs


def _tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    return itertools.chain(model.parameters(), model.buffers())


def as_targets(targets: Any, device: torch.device) -> torch.Tensor:
    """A batch's targets as a tensor, (batch, ...), on a device; a `UsageError` for what is none."""
    try:
        found = _countable(torch.as_tensor(targets).to(device))
    except (TypeError, ValueError, RuntimeError) as error:
        reason = printable(str(error))
        raise UsageError(f"targets are tensors, (batch, ...): {reason}") from error
    return found if found.dim() else found[None]
