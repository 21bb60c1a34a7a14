"""ticketkit draws sparse tickets from PyTorch checkpoints, and keeps them sparse.

A ticket is a subnetwork that keeps its pretrained weights: f(· ; m ⊙ θ_pre). Start with `draw`,
`Ticket` and `Mask`; write a plugin with `BlockScheme`, `Criterion` or `Allocation` and `hookimpl`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ticketkit.bits import PackedBits
    from ticketkit.budgets import Budget
    from ticketkit.checkpoint import Checkpoint, open_checkpoint
    from ticketkit.drawing import draw
    from ticketkit.errors import (
        CheckpointError,
        InputError,
        MismatchError,
        OutputError,
        PluginError,
        Stopped,
        TicketError,
        TicketkitError,
        TrainingError,
        UnknownPart,
        UnreachableSparsity,
        UsageError,
        WeightsError,
    )
    from ticketkit.heads import replace_head
    from ticketkit.holding import Hold
    from ticketkit.hookspecs import hookimpl
    from ticketkit.layer import Layer
    from ticketkit.mask import Mask
    from ticketkit.normalising import normalised
    from ticketkit.parts import (
        Accumulator,
        Allocation,
        BlockScheme,
        Context,
        Criterion,
        Estimate,
        Evaluator,
        Job,
        Robustifier,
        Round,
        Scheme,
        StepContext,
        Strategy,
        Task,
    )
    from ticketkit.pretrained import Pretraining
    from ticketkit.prunable import Counts
    from ticketkit.registry import catalogue
    from ticketkit.scoring import reader_of
    from ticketkit.ticket import Provenance, Ticket, load_ticket

# Where each public name lives. `import ticketkit` loads none of them: torch costs seconds.
_HOMES = {
    "Accumulator": "parts",
    "Allocation": "parts",
    "BlockScheme": "parts",
    "Budget": "budgets",
    "Checkpoint": "checkpoint",
    "CheckpointError": "errors",
    "Context": "parts",
    "Counts": "prunable",
    "Criterion": "parts",
    "Estimate": "parts",
    "Evaluator": "parts",
    "Hold": "holding",
    "InputError": "errors",
    "Job": "parts",
    "Layer": "layer",
    "Mask": "mask",
    "MismatchError": "errors",
    "OutputError": "errors",
    "PackedBits": "bits",
    "PluginError": "errors",
    "Pretraining": "pretrained",
    "Provenance": "ticket",
    "Robustifier": "parts",
    "Round": "parts",
    "Scheme": "parts",
    "StepContext": "parts",
    "Stopped": "errors",
    "Strategy": "parts",
    "Task": "parts",
    "Ticket": "ticket",
    "TicketError": "errors",
    "TicketkitError": "errors",
    "TrainingError": "errors",
    "UnknownPart": "errors",
    "UnreachableSparsity": "errors",
    "UsageError": "errors",
    "WeightsError": "errors",
    "catalogue": "registry",
    "draw": "drawing",
    "hookimpl": "hookspecs",
    "load_ticket": "ticket",
    "normalised": "normalising",
    "open_checkpoint": "checkpoint",
    "reader_of": "scoring",
    "replace_head": "heads",
}

__all__ = [
    "Accumulator",
    "Allocation",
    "BlockScheme",
    "Budget",
    "Checkpoint",
    "CheckpointError",
    "Context",
    "Counts",
    "Criterion",
    "Estimate",
    "Evaluator",
    "Hold",
    "InputError",
    "Job",
    "Layer",
    "Mask",
    "MismatchError",
    "OutputError",
    "PackedBits",
    "PluginError",
    "Pretraining",
    "Provenance",
    "Robustifier",
    "Round",
    "Scheme",
    "StepContext",
    "Stopped",
    "Strategy",
    "Task",
    "Ticket",
    "TicketError",
    "TicketkitError",
    "TrainingError",
    "UnknownPart",
    "UnreachableSparsity",
    "UsageError",
    "WeightsError",
    "catalogue",
    "draw",
    "hookimpl",
    "load_ticket",
    "normalised",
    "open_checkpoint",
    "reader_of",
    "replace_head",
]


if not TYPE_CHECKING:  # a type checker would take every misspelt name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'ticketkit' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"ticketkit.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
