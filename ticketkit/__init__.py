"""ticketkit draws sparse tickets from PyTorch checkpoints, and keeps them sparse.

A ticket is a subnetwork that keeps its pretrained weights: f(· ; m ⊙ θ_pre). Start with `draw`,
`Ticket` and `Mask`; write a plugin with `BlockScheme`, `Criterion` or `Allocation` and `hookimpl`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ticketkit.attacks import attack, check_pixels
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
    from ticketkit.holding import Hold
    from ticketkit.hookspecs import hookimpl
    from ticketkit.layer import Layer
    from ticketkit.mask import Mask
    from ticketkit.options import resolve, spec_of
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
    from ticketkit.prunable import Counts
    from ticketkit.registry import catalogue
    from ticketkit.scoring import reader_of
    from ticketkit.threats import ThreatModel
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
    "Provenance": "ticket",
    "Robustifier": "parts",
    "Round": "parts",
    "Scheme": "parts",
    "StepContext": "parts",
    "Stopped": "errors",
    "Strategy": "parts",
    "Task": "parts",
    "ThreatModel": "threats",
    "Ticket": "ticket",
    "TicketError": "errors",
    "TicketkitError": "errors",
    "TrainingError": "errors",
    "UnknownPart": "errors",
    "UnreachableSparsity": "errors",
    "UsageError": "errors",
    "WeightsError": "errors",
    "attack": "attacks",
    "catalogue": "registry",
    "check_pixels": "attacks",
    "draw": "drawing",
    "hookimpl": "hookspecs",
    "load_ticket": "ticket",
    "open_checkpoint": "checkpoint",
    "reader_of": "scoring",
    "resolve": "options",
    "spec_of": "options",
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
    "Provenance",
    "Robustifier",
    "Round",
    "Scheme",
    "StepContext",
    "Stopped",
    "Strategy",
    "Task",
    "ThreatModel",
    "Ticket",
    "TicketError",
    "TicketkitError",
    "TrainingError",
    "UnknownPart",
    "UnreachableSparsity",
    "UsageError",
    "WeightsError",
    "attack",
    "catalogue",
    "check_pixels",
    "draw",
    "hookimpl",
    "load_ticket",
    "open_checkpoint",
    "reader_of",
    "resolve",
    "spec_of",
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
