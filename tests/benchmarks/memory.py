"""Peak memory of one draw; `python -m tests.benchmarks.memory` measures it alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping

import torch
from torch import nn

from tests.benchmarks import peers
from tests.benchmarks.measure import reset_peak, resident, settle
from tests.benchmarks.networks import SCHEMES, build, drawn, packed_bytes, weights_of

Weights = Mapping[str, torch.Tensor]
PEERS: dict[str, Callable[[nn.Module, Weights], object]] = {
    "np.partition": lambda _, weights: peers.partition(list(weights.values())),
    "torch.topk": lambda _, weights: peers.topk(list(weights.values())),
    "torch.nn.utils.prune": lambda network, weights: peers.global_unstructured(network, weights),
}


def beyond_the_mask(task: str, network: str, alone: bool, sparsity: float = 0.9) -> tuple[int, int]:
    """Bytes at the peak of a draw, less those before it and the packed mask; bytes of the weights.

    `task` is a scheme, or one of the peers.
    """
    if not alone:
        return _measure(task, network, sparsity)
    command = [sys.executable, "-m", "tests.benchmarks.memory", task, network, str(sparsity)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(found[0]), int(found[1])


def _measure(task: str, name: str, sparsity: float) -> tuple[int, int]:
    for scheme in SCHEMES:
        drawn(build("tiny"), scheme)  # imports and caches are not what a draw takes
    network = build(name)
    weights = weights_of(network)
    size = sum(weight.nbytes for weight in weights.values())
    settle()
    reset_peak()
    before = resident()
    mask = _run(task, network, weights, sparsity)
    return resident("VmHWM") - before - mask, size


def _run(task: str, network: nn.Module, weights: Weights, sparsity: float) -> int:
    """Do the task; the bytes of the packed mask that it leads to."""
    if task not in PEERS:
        return packed_bytes(drawn(network, task, sparsity))
    PEERS[task](network, weights)
    return sum(weight.numel() for weight in weights.values()) // 8


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(*_measure(sys.argv[1], sys.argv[2], float(sys.argv[3])))
