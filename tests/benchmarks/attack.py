"""Group D: what training steps on perturbed inputs cost, against the plain step."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import cast

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import ticketkit
from tests.benchmarks.measure import Peer, Result, Skipped, in_turn, ratio, timed
from tests.benchmarks.networks import Scale, build

PGD = "pgd:steps=7"
REPLAYS = 4
Perturb = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


def pgd_rows(scale: Scale) -> Iterator[Result]:
    """D1: a training step on what seven steps of PGD find."""
    network = build(scale.trained)
    peers: dict[str, Perturb] = {"PGD-7 by backward": _by_backward}
    if scale.every_peer and importlib.util.find_spec("torchattacks"):
        peers["torchattacks PGD-7"] = _torchattacks
    plain, ours = _Training(network, scale.batch), _Training(network, scale.batch, PGD)
    others = [_Training(network, scale.batch, perturb=perturb) for perturb in peers.values()]
    floor, time, *taken = in_turn(_rounds(scale), plain.step, ours.step, *(o.step for o in others))
    yield timed("D1", f"training step with PGD-7, {scale.trained}", time, floor, 5.8)
    for what, other in zip(peers, taken, strict=True):
        yield Peer("D1", what, ratio(other, floor), 1e3 * median(other), "ms")
    if "torchattacks PGD-7" not in peers:
        yield Peer("D1", "torchattacks PGD-7", 5.6, quoted=True)


def half_rows(scale: Scale) -> Iterator[Result]:
    """D2: the same in bfloat16 with channels last, against the plain step in float32."""
    if scale.every_peer and not _has_bfloat16():
        yield Skipped("D2", "PGD-7 in bf16: this CPU has no bf16 instructions")
        return
    network = build(scale.trained)
    plain = _Training(network, scale.batch)
    ours = _Training(network, scale.batch, PGD, half=True)
    floor, time = in_turn(_rounds(scale), plain.step, ours.step)
    what = f"training step with PGD-7, bf16, {scale.trained}; floor fp32"
    yield timed("D2", what, time, floor, 3.2)


def cheap_rows(scale: Scale) -> Iterator[Result]:
    """D3: a replay of `free`, and a step with `fgsm-rs`."""
    network = build(scale.trained)
    plain = _Training(network, scale.batch)
    free = _Training(network, scale.batch, f"free:replays={REPLAYS}")
    fast = _Training(network, scale.batch, "fgsm-rs")
    times = in_turn(_rounds(scale), lambda: plain.steps(REPLAYS), free.step, fast.step)
    floor, replay = ([time / REPLAYS for time in several] for several in times[:2])
    yield timed("D3", f"replay of free, {scale.trained}", replay, floor, 1.05)
    yield timed("D3", f"training step with fgsm-rs, {scale.trained}", times[2], floor, 1.75)


def _rounds(scale: Scale) -> int:
    """Steps take seconds, so that a few of them do."""
    return min(5, scale.runs)


class _Training:
    """Training steps of SGD with momentum on pictures of noise, perturbed or not."""

    def __init__(
        self,
        network: nn.Module,
        batch: tuple[int, ...],
        robustifier: str | None = None,
        *,
        perturb: Perturb | None = None,
        half: bool = False,
    ) -> None:
        layout = torch.channels_last if half else torch.contiguous_format
        self._network = copy.deepcopy(network).to(memory_format=layout).train()
        self._optimizer = torch.optim.SGD(self._network.parameters(), lr=1e-3, momentum=0.9)
        generator = torch.Generator().manual_seed(0)
        self._images = torch.rand(batch, generator=generator).contiguous(memory_format=layout)
        self._labels = torch.randint(10, batch[:1], generator=generator)
        self._context = ticketkit.StepContext(cross_entropy, generator)
        self._perturb, self._half = perturb, half
        self._robustifier = robustifier and cast(
            "ticketkit.Robustifier", ticketkit.resolve("robustifier", robustifier)
        )

    def step(self) -> None:
        """What one batch is trained for."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            for inputs in self._batches():
                self._optimizer.zero_grad()
                cross_entropy(self._network(inputs), self._labels).backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()

    def steps(self, count: int) -> None:
        """So many batches."""
        for _ in range(count):
            self.step()

    def _batches(self) -> Iterator[torch.Tensor]:
        batch = self._network, self._images, self._labels
        if self._robustifier:
            yield from self._robustifier.batches(*batch, self._context)
        elif self._perturb:
            yield self._perturb(*batch)
        else:
            yield self._images


def _by_backward(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Seven steps of PGD as they are written first: the gradients of the weights come along."""
    eps = 8 / 255
    found = images + torch.empty_like(images).uniform_(-eps, eps)
    network.eval()
    for _ in range(7):
        found = found.detach().requires_grad_()
        cross_entropy(network(found), labels).backward()  # type: ignore[no-untyped-call]
        assert found.grad is not None
        found = found.detach() + 2.5 / 7 * eps * found.grad.sign()
        found = found.clamp(images - eps, images + eps).clamp(0, 1)
    network.train()
    return found


def _torchattacks(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    import torchattacks

    eps = 8 / 255
    made = torchattacks.PGD(network, eps=eps, alpha=2.5 / 7 * eps, steps=7, random_start=True)
    found: torch.Tensor = made(images, labels)
    return found


def _has_bfloat16() -> bool:
    """Whether the CPU says that it has instructions for bfloat16; where it cannot be asked, no."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", told) is not None
