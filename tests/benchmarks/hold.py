"""Group C: what a held mask adds to a training step, and the memory that it keeps."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator
from statistics import median
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

import ticketkit
from tests.benchmarks import peers
from tests.benchmarks.measure import Line, Peer, Result, ratio, resident, settle
from tests.benchmarks.networks import Scale, build, drawn, packed_bytes
from tests.benchmarks.training import Clock, Hold, Training


def step_rows(scale: Scale) -> Iterator[Result]:
    """C1: the time inside the hooks of a held mask, against the step without them."""
    network = build(scale.trained)
    mask = drawn(network)
    dense = Training(copy.deepcopy(network), scale.batch)
    held = {
        "hooks of a held mask": Training(copy.deepcopy(network), scale.batch, mask.hold),
        "masked_fill_ in hooks": Training(copy.deepcopy(network), scale.batch, _masked_fill(mask)),
        "float multiplication in hooks": Training(
            copy.deepcopy(network), scale.batch, _product(mask)
        ),
    }
    rebuilt = {
        "torch.nn.utils.prune": Training(_pruned(network, mask), scale.batch),
        "parametrize": Training(_parametrized(network, mask), scale.batch),
    }
    _train([dense, *held.values(), *rebuilt.values()], scale.runs)
    (what, ours), *others = held.items()
    spent = ratio(ours.hooks, dense.steps)
    times = (1e3 * spent * dense.median, 1e3 * dense.median, "ms", spent)
    yield Line("C1", f"{what}, a step of {scale.trained}", *times, 0.007, sign="%")
    yield from _loop_rows(scale, mask)
    for what, other in others:
        yield Peer("C1", what, ratio(other.hooks, dense.steps), sign="%")
    for what, other in rebuilt.items():
        more = min(other.steps) / min(dense.steps) - 1  # the fastest steps: noise is larger
        yield Peer("C1", f"{what} (difference of steps)", more, sign="%")


def _loop_rows(scale: Scale, mask: ticketkit.Mask) -> Iterator[Result]:
    """The same in `ticketkit.fit`, with all that a real training does beside its steps."""
    dense, held = _Fit(scale), _Fit(scale)
    for _ in range(scale.runs):
        dense.run(None)
        held.run(mask)
    spent = median(held.hooks) / median(dense.steps)
    times = (1e3 * median(held.hooks), 1e3 * median(dense.steps), "ms", spent)
    yield Line("C1", f"the same in ticketkit.fit, {scale.trained}", *times, 0.007, sign="%")


class _Fit:
    """Steps of `ticketkit.fit` on noise; how long each took, and how long its hooks."""

    def __init__(self, scale: Scale) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, scale.batch, dtype=torch.uint8, generator=generator)
        labels = torch.randint(10, scale.batch[:1], generator=generator)
        self._data = ticketkit.Pictures(images, labels)
        self._network = build(scale.trained)
        self._schedule = ticketkit.Schedule(steps=3, batch=scale.batch[0], lr=1e-3)
        self._begun: list[float] = []
        self.steps: list[float] = []
        self.hooks: list[float] = []

    def run(self, mask: ticketkit.Mask | None) -> None:
        """Three steps, of which the last two are timed: from one loss to the next."""
        clock = Clock()
        self._begun.clear()
        with clock.on_hooks():
            ticketkit.fit(
                self._network, self._data, schedule=self._schedule, loss=self._loss, mask=mask
            )
        self.steps += [b - a for a, b in itertools.pairwise(self._begun)]
        self.hooks.append(clock.spent / 3)

    def _loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self._begun.append(time.perf_counter())
        return nn.functional.cross_entropy(outputs, targets)


def kept_rows(scale: Scale) -> Iterator[Result]:
    """C2: bytes that a held mask keeps for each masked weight, beyond the packed mask."""
    network = build(scale.trained)
    mask = drawn(network)
    settle()
    before = resident()
    handle = mask.hold(network, torch.optim.SGD(network.parameters()))
    settle()
    grown = resident() - before
    kept = _bytes(handle) - packed_bytes(mask)
    sizes = (kept / 2**20, mask.size / 2**20, "MiB", kept / mask.size)
    yield Line("C2", f"memory of a held mask, {scale.trained}; floor: weights", *sizes, 1, sign="B")
    what = "held mask by growth of resident memory (a check)"
    yield Peer("C2", what, grown / mask.size, grown / 2**20, "MiB", "B")
    pruned = _bytes_of(_pruned(network, mask)) - _bytes_of(network)
    yield Peer("C2", "torch.nn.utils.prune", pruned / mask.size, pruned / 2**20, "MiB", "B")


def _train(trainings: list[Training], runs: int) -> None:
    """Steps of all of them, in turn."""
    for training in trainings:
        training.step()
        training.forget()
    for _ in range(runs):
        for training in trainings:
            training.step()


def _masked_fill(mask: ticketkit.Mask) -> Hold:
    removed = {name: ~keep for name, keep in mask.items()}
    return _in_hooks(removed, lambda tensor, drop: tensor.masked_fill_(drop, 0))


def _product(mask: ticketkit.Mask) -> Hold:
    return _in_hooks(
        {n: k.float() for n, k in mask.items()}, lambda tensor, keep: tensor.mul_(keep)
    )


def _in_hooks(
    masks: dict[str, torch.Tensor], write: Callable[[torch.Tensor, torch.Tensor], object]
) -> Hold:
    """Gradients masked as they accumulate and weights after the step, as ours, by `write`."""

    def hold(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        pairs = [(network.get_parameter(name), mask) for name, mask in masks.items()]

        @torch.no_grad()
        def after_step(*_: object) -> None:
            for parameter, mask in pairs:
                write(parameter, mask)

        for parameter, mask in pairs:
            parameter.register_post_accumulate_grad_hook(_GradientHook(mask, write))  # type: ignore[no-untyped-call]
        optimizer.register_step_post_hook(after_step)

    return hold


class _GradientHook:
    def __init__(
        self, mask: torch.Tensor, write: Callable[[torch.Tensor, torch.Tensor], object]
    ) -> None:
        self._mask, self._write = mask, write

    def __call__(self, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        self._write(parameter.grad, self._mask)


def _pruned(network: nn.Module, mask: ticketkit.Mask) -> nn.Module:
    return peers.custom_masks(copy.deepcopy(network), dict(mask))


class _Product(nn.Module):
    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.float())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.mask


def _parametrized(network: nn.Module, mask: ticketkit.Mask) -> nn.Module:
    network = copy.deepcopy(network)
    for name, keep in mask.items():
        path, _, last = name.rpartition(".")
        parametrize.register_parametrization(network.get_submodule(path), last, _Product(keep))
    return network


def _bytes_of(network: nn.Module) -> int:
    return _bytes([vars(module) for module in network.modules()])


def _bytes(root: object) -> int:
    """Bytes of all tensors and arrays reachable from here, but for networks and parameters."""
    storages: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, nn.Parameter | type | ModuleType):
            continue
        seen.add(id(found))
        if isinstance(found, torch.Tensor):
            storage = found.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(found, np.ndarray):
            storages[found.ctypes.data] = found.nbytes
        elif not isinstance(found, nn.Module | torch.optim.Optimizer):
            waiting += _inside(found)
    return sum(storages.values())


def _inside(found: Any) -> list[Any]:
    if isinstance(found, dict):
        return list(found.values())
    if isinstance(found, list | tuple | set):
        return list(found)
    if isinstance(found, MethodType):
        return [found.__self__]
    if isinstance(found, FunctionType):
        return [cell.cell_contents for cell in found.__closure__ or ()]
    return list(vars(found).values()) if hasattr(found, "__dict__") else []
