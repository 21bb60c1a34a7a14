"""A draw for which a criterion looks at a task's data: the network of a file, and batches of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from ticketkit.augmenting import as_evaluated
from ticketkit.batching import batches_of
from ticketkit.checkpoint import Checkpoint
from ticketkit.datasets import data_of
from ticketkit.drawing import draw
from ticketkit.losses import cross_entropy
from ticketkit.opening import network_for
from ticketkit.options import resolve, spec_of
from ticketkit.parts import Task
from ticketkit.presets import schedule_of
from ticketkit.seeds import order
from ticketkit.stacking import pixels
from ticketkit.ticket import Ticket
from ticketkit.versions import versions_of

PICTURES = 1024
"""How many training pictures a criterion looks at, at most."""
_BATCH = 64
_CPU = torch.device("cpu")


def draw_on_task(
    checkpoint: Checkpoint,
    *,
    task: str,
    arch: str | None,
    root: Path | None,
    download: bool = False,
    seed: int,
    **options: Any,
) -> Ticket:
    """`draw` from a checkpoint's network, with training pictures of the task it was trained on.

    These are the first `PICTURES` in the order that the seed draws. A checkpoint whose head is for
    other classes than the task's is refused: the head is not replaced.
    """
    part = cast("Task", resolve("task", task))
    data = data_of(part, root, download=download)
    opened = network_for(
        checkpoint, arch, data.classes, data.shape[0], segmentation=part.segmentation
    )
    seen = data.train
    if told := checkpoint.pretraining:  # as large as what it was trained on
        seen = as_evaluated(seen, schedule_of(told.fit, "pretrain"))
    batches = sampled(seen, seed)
    ticket = draw(opened.model, batches=batches, loss=cross_entropy, seed=seed, **options)
    provenance = replace(
        ticket.provenance,
        source=checkpoint.digest(),  # of the file: a network may hold its weights in another dtype
        task=spec_of(part),
        versions={**versions_of(part), **ticket.provenance.versions},
    )
    return replace(ticket, provenance=provenance)


def sampled(data: Any, seed: int, device: torch.device = _CPU) -> Iterable[tuple[Any, Any]]:
    """Batches of the first `PICTURES` pictures of a data set, in the order that the seed draws."""
    chosen = order(seed, 0, len(data))[:PICTURES].tolist()
    return _Batches(torch.utils.data.Subset(data, chosen), device)


class _Batches:
    def __init__(self, data: torch.utils.data.Dataset[Any], device: torch.device) -> None:
        self._data, self._device = data, device

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Any]]:
        for inputs, targets in batches_of(self._data, _BATCH):
            yield pixels(inputs.to(self._device)), targets.to(self._device)
