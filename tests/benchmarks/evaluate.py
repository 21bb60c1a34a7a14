"""Group F: what measuring costs beside the forward pass that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

import ticketkit
from tests.benchmarks.measure import Result, in_turn, timed
from tests.benchmarks.networks import Scale, build
from ticketkit.estimates import EvaluationContext
from ticketkit.evaluation import measured
from ticketkit.options import resolve

BATCH = 256
BATCHES = 8


def shared_rows(scale: Scale) -> Iterator[Result]:
    """F2: six figures of outputs alone, and the scores that `ood` takes of its own data."""
    network = build(scale.trained).eval()
    count = BATCHES * BATCH * scale.batch[0] // 64
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *scale.batch[1:]), generator=generator).byte()
    data = ticketkit.Pictures(images, torch.randint(10, (count,), generator=generator))
    parts: Any = {spec: resolve("evaluator", spec) for spec in ("accuracy", "calibration")}
    parts["ood"] = _ScoresAlone()

    def bare() -> None:
        with torch.no_grad():
            for inputs, _ in ticketkit.batches_of(data, BATCH):
                network(inputs.float() / 255)

    def ours() -> object:
        return dict(measured(network, data, parts, EvaluationContext(batch=BATCH)))

    times, floor = in_turn(min(3, scale.runs), ours, bare)
    yield timed("F2", f"six figures of {count} pictures, {scale.trained}", times, floor, 1.05)


class _ScoresAlone(ticketkit.Evaluator):
    """What `ood` does in the shared pass."""

    name = "ood"

    def start(self) -> Any:
        scores: Any = resolve("evaluator", "ood")
        return _Counted(scores.start())


class _Counted:
    def __init__(self, scores: Any) -> None:
        self.update, self._scores = scores.update, scores

    def compute(self) -> ticketkit.Figures:
        mean = torch.cat(self._scores.msp).mean().item()
        return {"msp": ticketkit.Estimate(mean, self._scores.n)}
