"""A network in training, with a clock on whatever hooks are registered on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import nn

from tests.benchmarks.measure import seconds

# Where hooks are registered: whatever a handle registers here is timed.
_REGISTRIES: list[tuple[type, str]] = [
    (torch.Tensor, "register_hook"),
    (torch.Tensor, "register_post_accumulate_grad_hook"),
    (torch.optim.Optimizer, "register_step_pre_hook"),
    (torch.optim.Optimizer, "register_step_post_hook"),
    (nn.Module, "register_forward_pre_hook"),
]

Hold = Callable[[nn.Module, torch.optim.Optimizer], object]


class Training:
    """Steps of SGD with momentum on noise; how long each took, and how long its hooks."""

    def __init__(
        self, network: nn.Module, batch: tuple[int, ...], hold: Hold | None = None
    ) -> None:
        self._network = network.train()
        self._optimizer = torch.optim.SGD(self._network.parameters(), lr=1e-3, momentum=0.9)
        self._clock = Clock()
        with self._clock.on_hooks():
            self._handle = hold(self._network, self._optimizer) if hold else None
        generator = torch.Generator().manual_seed(0)
        self._images = torch.randn(batch, generator=generator)
        self._labels = torch.randint(10, batch[:1], generator=generator)
        self.steps: list[float] = []
        self.hooks: list[float] = []

    def step(self) -> None:
        """One step, timed."""
        self._clock.spent = 0.0
        self.steps.append(seconds(self._step))
        self.hooks.append(self._clock.spent)

    def forget(self) -> None:
        """Forget the steps so far: they warmed up."""
        self.steps.clear()
        self.hooks.clear()

    @property
    def median(self) -> float:
        """The median step, in seconds."""
        return median(self.steps)

    def _step(self) -> None:
        self._optimizer.zero_grad()
        nn.functional.cross_entropy(self._network(self._images), self._labels).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


class Clock:
    """Adds up the time spent in hooks."""

    def __init__(self) -> None:
        self.spent = 0.0

    @contextlib.contextmanager
    def on_hooks(self) -> Iterator[None]:
        """Put this clock on every hook that is registered meanwhile."""
        with contextlib.ExitStack() as stack:
            for owner, name in _REGISTRIES:
                stack.enter_context(mock.patch.object(owner, name, self._registering(owner, name)))
            yield

    def _registering(self, owner: type, name: str) -> Callable[..., Any]:
        register = getattr(owner, name)
        return lambda self_, hook, *rest, **named: register(
            self_, self._timed(hook), *rest, **named
        )

    def _timed(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return hook(*arguments)
            finally:
                self.spent += time.perf_counter() - start

        return run
