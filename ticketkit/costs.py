"""What a network costs: weights, multiplications, time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ticketkit.errors import InputError
from ticketkit.inference import evaluated, forward, placed
from ticketkit.mask import unwrap
from ticketkit.prunable import survey
from ticketkit.roles import of_network

_WARM_UP = 3
"""Passes before the first that is timed: the first ones choose kernels and fetch memory."""


@dataclass(frozen=True)
class Weights:
    """How many weights a network has."""

    parameters: int
    """Elements of all parameters; tied ones count once."""
    nonzeros: int
    """Those of them that are not zero."""
    sparsity: float | None
    """The share of zeros among the prunable weights; None where a draw would find none."""


@dataclass(frozen=True)
class Macs:
    """How many multiplications, each with its addition, a forward pass needs."""

    dense: int
    effective: int
    """Without those by a weight that is zero."""


def count_weights(model: torch.nn.Module) -> Weights:
    """The parameters of a network, those that are not zero, and the sparsity of its tickets."""
    model = unwrap(model)
    parameters = dict(model.named_parameters())
    nonzeros = {name: int(each.count_nonzero()) for name, each in parameters.items()}
    sizes = {name: each.numel() for name, each in parameters.items()}
    sparsity = None
    with contextlib.suppress(InputError):
        layers = [model.get_parameter(name) for name in survey(of_network(model)).layers]
        zeros = sum(layer.numel() - int(layer.count_nonzero()) for layer in layers)
        sparsity = zeros / sum(layer.numel() for layer in layers)
    return Weights(sum(sizes.values()), sum(nonzeros.values()), sparsity)


def count_macs(model: torch.nn.Module, pictures: torch.Tensor) -> Macs:
    """Count the multiplications of one forward pass of `pictures`, (batch, ...).

    Counted are convolutions, matrix products and attention, by the formulae of
    `torch.utils.flop_counter`, which takes a multiplication and its addition for two; positions in
    the padding count. A multiplication by a parameter counts as effective by the share of that
    parameter's elements that are not zero, attention's projections among them; products of
    activations are all effective, and so are those by a weight that is computed from others. The
    network is left as it was. UsageError where it does not take the pictures.
    """
    model = unwrap(model)
    with evaluated(model), torch.inference_mode(False), torch.no_grad(), _plain_attention():
        counting = _Counting(model)
        with counting:
            forward(model, pictures, 0)
    return Macs(counting.dense, counting.effective)


def time_forward(
    model: torch.nn.Module,
    pictures: torch.Tensor,
    runs: int,
    advance: Callable[[int], None] = lambda count: None,
) -> list[float]:
    """The seconds that each of `runs` forward passes of `pictures`, (batch, ...), takes.

    The pictures are on the network's device before, the result is there after; a few passes that
    are not timed come first. The network is left as it was, and `advance` told of each run.
    """
    seconds = []
    with evaluated(model):
        pictures = placed(pictures, model)
        for run in range(-_WARM_UP, runs):
            begin = _now(pictures.device)
            forward(model, pictures, 0)
            end = _now(pictures.device)
            if run >= 0:
                seconds.append(end - begin)
                advance(1)
    return seconds


def _now(device: torch.device) -> float:
    """The time when a device has done all that it was told to do."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention in steps: of its fused forms on a CPU torch knows no count."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


_ADDED = (torch.ops.aten.addmm, torch.ops.aten.baddbmm)
"""Whose first operand is added to the product of the next two."""


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what passes through torch's operations."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dense = self.effective = 0
        self._weights = {_memory(parameter) for parameter in model.parameters()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        operation = func.overloadpacket
        if operation in flop_registry:
            macs = flop_registry[operation](*args, **(kwargs or {}), out_val=out) // 2
            first = int(operation in _ADDED)
            self.dense += macs
            self.effective += self._effective(macs, args[first : first + 2])
        return out

    def _effective(self, macs: int, factors: tuple[Any, ...]) -> int:
        for factor in factors:
            if factor.numel() and _memory(factor) in self._weights:
                macs = macs * int(factor.count_nonzero()) // factor.numel()
        return macs


def _memory(tensor: torch.Tensor) -> int:
    """What a tensor has in common with its views."""
    return tensor.untyped_storage().data_ptr()
