"""C4: what a round of iterative pruning costs beside its training."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import ticketkit
from tests.benchmarks.measure import Line, Result
from tests.benchmarks.networks import Scale, build
from ticketkit.loop import Loop

# A round is longer than so many steps wherever it is worth its while.
_STEPS, _ROUNDS = 4, 3


def overhead_rows(scale: Scale) -> Iterator[Result]:
    """C4: selecting, rewinding and saving, against so short a training, in a run on disk."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, scale.batch, dtype=torch.uint8, generator=generator)
    data = ticketkit.Pictures(images, torch.randint(10, scale.batch[:1], generator=generator))
    steps, rounds = (_STEPS, _ROUNDS) if scale.runs > 1 else (1, 2)
    training = 0.0
    run = Loop.run

    def timed(loop: Loop, *arguments: Any) -> Any:
        nonlocal training
        start = time.perf_counter()
        try:
            return run(loop, *arguments)
        finally:
            training += time.perf_counter() - start

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Loop, "run", timed):
        start = time.perf_counter()
        ticketkit.draw(
            build(scale.trained),
            scheme="unstructured",
            sparsity=1 - 0.8 ** (rounds + 1),
            strategy="imp",
            data=data,
            schedule=ticketkit.Schedule(steps=steps, batch=scale.batch[0], lr=0.01),
            run=Path(folder) / "run",
        )
        taken = time.perf_counter() - start
    ours, floor = (1e3 * each / rounds for each in (taken - training, training))
    what = f"round of imp beside {steps} steps of {scale.trained}"
    yield Line("C4", what, ours, floor, "ms", ours / floor, 0.05, sign="%")
