"""Group C: what a training step of a mask's scores costs, against a step of the dense weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from tests.benchmarks.measure import Peer, Result, in_turn, ratio, timed
from tests.benchmarks.networks import Scale, build
from tests.learners import Learner

SPARSITY = 0.9


def step_rows(scale: Scale) -> Iterator[Result]:
    """C3: a step of scores, ranked in each layer; the peer sorts them, as is usually done."""
    network = build(scale.trained)
    schemes = ("unstructured", "row")
    with ExitStack() as stack:
        jobs = [Learner(copy.deepcopy(network), scheme, SPARSITY) for scheme in schemes]
        learned = [stack.enter_context(job.learning()) for job in jobs]
        models = [network, *learned, _Sorted(copy.deepcopy(network), list(jobs[0].layers))]
        steps = [_Training(model, scale.batch).step for model in models]
        floor, *ours, theirs = in_turn(min(5, scale.runs), *steps)
    for scheme, times in zip(schemes, ours, strict=True):
        yield timed("C3", f"step of scores, {scheme}, {scale.trained}", times, floor, 1.1)
    yield Peer("C3", "all scores sorted", ratio(theirs, floor), 1e3 * median(theirs), "ms")


class _Training:
    """Steps of SGD with momentum on noise."""

    def __init__(self, network: nn.Module, batch: tuple[int, ...]) -> None:
        self._network = network.train()
        trained = [each for each in network.parameters() if each.requires_grad]
        self._optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9)
        generator = torch.Generator().manual_seed(0)
        self._images = torch.rand(batch, generator=generator)
        self._labels = torch.randint(10, batch[:1], generator=generator)

    def step(self) -> None:
        self._optimizer.zero_grad()
        cross_entropy(self._network(self._images), self._labels).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


class _Sorted(nn.Module):
    """Scores of single weights; a layer's lowest are found by sorting all that it has."""

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        network.get_submodule("fc").requires_grad_(True)
        self._names = names
        self.scores = nn.ParameterList(torch.randn(network.get_parameter(n).shape) for n in names)

    def forward(self, images: torch.Tensor) -> Any:
        pairs = zip(self._names, self.scores, strict=True)
        weights = {n: _Lowest.apply(s.abs()) * self.network.get_parameter(n) for n, s in pairs}
        return functional_call(self.network, weights, (images,))


class _Lowest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, magnitudes: torch.Tensor) -> torch.Tensor:
        order = magnitudes.flatten().argsort()
        mask = torch.ones_like(magnitudes)
        mask.view(-1)[order[: round(SPARSITY * len(order))]] = 0
        return mask

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient
