"""Where a draw takes its weights from: a live network, or a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch

from ticketkit.checkpoint import Checkpoint
from ticketkit.digests import digest_of
from ticketkit.errors import UsageError, WeightsError, printable
from ticketkit.layer import Layer
from ticketkit.mask import unwrap
from ticketkit.normalising import normalisation_of
from ticketkit.prunable import Tensor, cannot_rank
from ticketkit.roles import of_network
from ticketkit.torchfile import dtype_name, raw_of


class Source(Protocol):
    """What a draw asks of its source."""

    def tensors(self) -> Iterable[Tensor]:
        """What is known of each parameter without reading it."""

    def weight(self, layer: Layer) -> torch.Tensor:
        """A prunable weight in its own shape."""

    def digest(self) -> str:
        """SHA-256 over the weights."""

    def normalisation(self) -> dict[str, tuple[float, ...]]:
        """The `mean` and `std` of its inputs, where the source tells them."""


def source_of(model: torch.nn.Module | Checkpoint) -> Source:
    """The source that a network or an open checkpoint is."""
    if isinstance(model, Checkpoint):
        return _CheckpointSource(model)
    if isinstance(model, torch.nn.Module):
        return _NetworkSource(model)
    raise UsageError(
        "a ticket is drawn from a torch.nn.Module or a checkpoint opened by "
        f"ticketkit.open_checkpoint, found {type(model).__name__}"
    )


def digest_of_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over tensors by name: what a checkpoint that holds them has as its digest."""
    dtypes = {name: dtype_name(tensor) for name, tensor in tensors.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    size = sum(tensor.nbytes for tensor in tensors.values())
    return digest_of(sorted(tensors), dtypes, shapes, lambda name: raw_of(tensors[name]), size)


class _NetworkSource:
    def __init__(self, model: torch.nn.Module) -> None:
        self._model = unwrap(model)
        self._parameters = dict(self._model.named_parameters(remove_duplicate=False))

    def tensors(self) -> Iterable[Tensor]:
        return of_network(self._model)

    def weight(self, layer: Layer) -> torch.Tensor:
        return _rankable(layer.name, self._parameters[layer.name])

    def digest(self) -> str:
        state = self._model.state_dict().items()
        return digest_of_tensors({name: found for name, found in state if torch.is_tensor(found)})

    def normalisation(self) -> dict[str, tuple[float, ...]]:
        return normalisation_of(self._model)


class _CheckpointSource:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def tensors(self) -> Iterable[Tensor]:
        return self._checkpoint.tensors()

    def weight(self, layer: Layer) -> torch.Tensor:
        return _rankable(layer.name, self._checkpoint[layer.name])

    def digest(self) -> str:
        return self._checkpoint.digest()

    def normalisation(self) -> dict[str, tuple[float, ...]]:
        return self._checkpoint.normalisation()


def _rankable(name: str, weight: torch.Tensor) -> torch.Tensor:
    """The weight, if it has values that can be ranked."""
    shown = printable(name)
    if weight.is_meta:
        raise WeightsError(f"{shown}: a meta tensor has a shape but no values; load weights first")
    if weight.layout != torch.strided or weight.is_quantized:
        kind = "quantised" if weight.is_quantized else str(weight.layout)
        raise WeightsError(f"{shown}: {kind} weights cannot be ranked; prune before converting")
    if not weight.is_floating_point() and not weight.is_complex():
        raise cannot_rank(name, str(weight.dtype).removeprefix("torch."))
    return weight.detach()
