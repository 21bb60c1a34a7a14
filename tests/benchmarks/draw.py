"""Group A: drawing a ticket from a live network."""

from __future__ import annotations

import copy
import math
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

import numpy as np
import torch
from torch import nn

import ticketkit
from tests.benchmarks import memory, peers
from tests.benchmarks.measure import Line, Peer, Result, in_turn, ratio, seconds, timed
from tests.benchmarks.networks import SCHEMES, Scale, build, drawn, weights_of
from ticketkit.bits import BlockBits

Change = Callable[[torch.Tensor], torch.Tensor]
Masker = Callable[[Sequence[torch.Tensor]], object]


def draw_rows(scale: Scale) -> Iterator[Result]:
    """A1: a global ticket against one streamed compare of the same weights."""
    network = build(scale.network)
    weights = list(weights_of(network).values())
    for scheme in SCHEMES:
        goal = 2.5 if scheme in ("unstructured", "channel") else 10
        ours, floor = in_turn(scale.runs, _draw(network, scheme), _compare(weights))
        yield timed("A1", f"draw {scheme}, {_size(weights)}, 90 %", ours, floor, goal)
    yield from _against_prune(network, weights)
    peers_ = {"np.partition and a threshold": peers.partition, "torch.topk": peers.topk}
    yield from _peers("A1", weights, peers_, min(3, scale.runs))
    if scale.every_peer:
        yield from _structural(network, weights)
    yield Peer("A1", "open_lth, unstructured", 24, quoted=True)


def large_rows(scale: Scale) -> Iterator[Result]:
    """A2: the same on a network twenty times as large."""
    network = build(scale.huge)
    weights = list(weights_of(network).values())
    runs = min(scale.runs, 7)
    ours, floor = in_turn(runs, _draw(network, "unstructured"), _compare(weights))
    yield timed("A2", f"draw unstructured, {_size(weights)}, 90 %", ours, floor, 2)
    yield from _peers("A2", weights, {"np.partition and a threshold": peers.partition}, 1)


def memory_rows(scale: Scale) -> Iterator[Result]:
    """A3: peak memory of a draw beyond the mask that it returns."""
    cases = [(scheme, scale.network, 0.9) for scheme in SCHEMES]
    cases += [(scheme, scale.many, 0.9) for scheme in ("unstructured", "row")]
    cases += [("kernel", scale.network, 0.08)]
    for task, network, sparsity in cases:
        taken, size = memory.beyond_the_mask(task, network, scale.alone, sparsity)
        yield Line(
            "A3",
            f"memory of draw {task}, {network}, {sparsity:.0%}",
            taken / 2**20,
            size / 2**20,
            "MiB",
            taken / size,
            0.05 + 2**25 / size,
        )
    for task in memory.PEERS:
        taken, size = memory.beyond_the_mask(task, scale.network, scale.alone)
        yield Peer("A3", f"memory of {task}", taken / size, taken / 2**20, "MiB")


def worst_rows(scale: Scale) -> Iterator[Result]:
    """A4: inputs that slow a draw down, against normal weights and 90 % in the same run."""
    normal = build(scale.network)
    for what, change, sparsity in _WORST:
        network = _changed(normal, change)
        for scheme in ("unstructured", "row", "kernel"):
            _check_count(network, scheme, sparsity)
            ours, floor = in_turn(
                scale.runs, _draw(network, scheme, sparsity), _draw(normal, scheme)
            )
            yield timed("A4", f"draw {scheme}, {what}", ours, floor, 1.5)
    normal_weights = list(weights_of(normal).values())
    zeros = [_mostly_zeros(weight) for weight in normal_weights]
    ours, floor = in_turn(
        1, lambda: peers.partition(zeros), lambda: peers.partition(normal_weights)
    )
    yield Peer("A4", "np.partition, 80 % zeros", ratio(ours, floor), 1e3 * ours[0], "ms")


def _draw(network: nn.Module, scheme: str, sparsity: float = 0.9) -> Callable[[], object]:
    return lambda: ticketkit.draw(network, scheme=scheme, sparsity=sparsity)


def _compare(weights: Sequence[torch.Tensor]) -> Callable[[], object]:
    """floor_cmp: each weight compared once, into booleans in memory just mapped."""
    arrays = [weight.reshape(-1).numpy() for weight in weights]

    def compare() -> object:
        masks = [np.frombuffer(mmap.mmap(-1, array.size), np.bool_) for array in arrays]
        return [np.greater(a, 0.01, out=m) for a, m in zip(arrays, masks, strict=True)]

    return compare


def _against_prune(network: nn.Module, weights: Sequence[torch.Tensor]) -> Iterator[Result]:
    names, copied = list(weights_of(network)), copy.deepcopy(network)
    theirs = seconds(lambda: peers.global_unstructured(copied, names))
    ours, floor = in_turn(3, _draw(network, "unstructured"), _compare(weights))
    times = (1e3 * median(ours), 1e3 * theirs, "ms", theirs / median(ours))
    yield Line("A1", "times faster than torch.nn.utils.prune (one run)", *times, 100, at_least=True)
    yield Peer("A1", "torch.nn.utils.prune", theirs / median(floor), 1e3 * theirs, "ms")


def _peers(
    row: str, weights: Sequence[torch.Tensor], calls: Mapping[str, Masker], runs: int
) -> Iterator[Result]:
    for what, call in calls.items():
        taken, floor = in_turn(runs, lambda call=call: call(weights), _compare(weights))  # type: ignore[misc]
        yield Peer(row, what, ratio(taken, floor), 1e3 * median(taken), "ms")


def _structural(network: nn.Module, weights: Sequence[torch.Tensor]) -> Iterator[Result]:
    theirs = seconds(peers.StructuralPruner(network))
    (floor,) = in_turn(3, _compare(weights))
    what = "torch-pruning, channels: importance and choice"
    yield Peer("A1", what, theirs / median(floor), 1e3 * theirs, "ms")


def _size(weights: Sequence[torch.Tensor]) -> str:
    return f"{sum(weight.numel() for weight in weights) / 1e6:.1f} M weights"


def _mostly_zeros(weight: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return weight * (torch.rand(weight.shape, generator=generator) < 0.2)


def _three_bits(weight: torch.Tensor) -> torch.Tensor:
    return (weight / weight.std() * 1.5).round().clamp(-3, 4)


def _scaled(weight: torch.Tensor) -> torch.Tensor:
    """Channels of very different scale, so that neighbours are alike and samples mislead."""
    generator = torch.Generator().manual_seed(0)
    shape = (len(weight), *(1,) * (weight.dim() - 1))
    return weight * torch.randn(shape, generator=generator).exp()


_WORST: list[tuple[str, Change, float]] = [
    ("80 % zeros, 90 %", _mostly_zeros, 0.9),
    ("80 % zeros, 60 % (within them)", _mostly_zeros, 0.6),
    ("8 distinct values, 90 %", _three_bits, 0.9),
    ("channels of many scales, 50 %", _scaled, 0.5),
    ("normal weights, 8 %", torch.clone, 0.08),
    ("bfloat16, 90 %", lambda weight: weight.bfloat16(), 0.9),
]


def _changed(network: nn.Module, change: Change) -> nn.Module:
    changed = copy.deepcopy(network)
    for parameter in changed.parameters():
        if parameter.dim() > 1:
            parameter.data = change(parameter.detach())
    return changed


def _check_count(network: nn.Module, scheme: str, sparsity: float) -> None:
    """As many weights are kept as fit the budget, to less than one block."""
    mask = drawn(network, scheme, sparsity)
    room = mask.size - round(sparsity * mask.size) - mask.kept
    parts = (mask.packed(name) for name in mask)
    most = max(math.prod(part.block) for part in parts if isinstance(part, BlockBits))
    assert 0 <= room < most, f"{scheme}: {room} weights of the budget are left"
