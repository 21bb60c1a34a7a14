"""A training from Python that is saved after each step, to be run in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ticketkit
from tests.core.networks import network, pictures


def train(arguments: list[str]) -> int:
    """Train, or go on, in the folder `run`; where it begins is told on standard error."""
    model = network()
    ticketkit.fit(
        model,
        pictures(),  # 50 of them, four batches
        schedule="small:epochs=25,batch=16",
        mask=ticketkit.draw(model, scheme="unstructured", sparsity=0.5).mask,
        robustifier="pgd:steps=1",
        run="run",
        resume=True,
        save_every=0,
        report=_tell,
    )
    return 0


def _tell(event: Mapping[str, Any]) -> None:
    if event["event"] == "fit":
        os.write(2, f"{event['step']}\n".encode())
