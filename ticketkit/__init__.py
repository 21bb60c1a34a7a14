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
    from ticketkit.batchnorm import recalibrate
    from ticketkit.bits import PackedBits
    from ticketkit.budgets import Budget
    from ticketkit.caching import cached_splits
    from ticketkit.checkpoint import Checkpoint, open_checkpoint
    from ticketkit.downstream import transfer
    from ticketkit.drawing import draw
    from ticketkit.errors import (
        CheckpointError,
        EvaluationError,
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
    from ticketkit.evaluation import evaluate
    from ticketkit.extras import import_extra
    from ticketkit.glyphs import draw_glyphs
    from ticketkit.guards import check_predictions
    from ticketkit.heads import replace_head
    from ticketkit.holding import Hold
    from ticketkit.hookspecs import hookimpl
    from ticketkit.layer import Layer
    from ticketkit.loop import Fitted
    from ticketkit.mask import Mask
    from ticketkit.normalising import normalised
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
        Prior,
        PriorChoice,
        Robustifier,
        Round,
        Scheme,
        StepContext,
        Strategy,
        Task,
    )
    from ticketkit.pictures import Pictures
    from ticketkit.pretrained import Pretraining
    from ticketkit.prunable import Counts
    from ticketkit.ranges import check_whole
    from ticketkit.registry import catalogue
    from ticketkit.schedules import Schedule
    from ticketkit.scoring import reader_of
    from ticketkit.statistics import wilson
    from ticketkit.threats import ThreatModel
    from ticketkit.ticket import Provenance, Ticket, load_ticket
    from ticketkit.training import fit

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
    "EvaluationError": "errors",
    "Evaluator": "parts",
    "Fitted": "loop",
    "Hold": "holding",
    "InputError": "errors",
    "Job": "parts",
    "Layer": "layer",
    "Mask": "mask",
    "MismatchError": "errors",
    "OutputError": "errors",
    "PackedBits": "bits",
    "Pictures": "pictures",
    "PluginError": "errors",
    "Pretraining": "pretrained",
    "Prior": "parts",
    "PriorChoice": "parts",
    "Provenance": "ticket",
    "Robustifier": "parts",
    "Round": "parts",
    "Schedule": "schedules",
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
    "cached_splits": "caching",
    "catalogue": "registry",
    "check_pixels": "attacks",
    "check_predictions": "guards",
    "check_whole": "ranges",
    "draw": "drawing",
    "draw_glyphs": "glyphs",
    "evaluate": "evaluation",
    "fit": "training",
    "hookimpl": "hookspecs",
    "import_extra": "extras",
    "load_ticket": "ticket",
    "normalised": "normalising",
    "open_checkpoint": "checkpoint",
    "reader_of": "scoring",
    "recalibrate": "batchnorm",
    "replace_head": "heads",
    "resolve": "options",
    "spec_of": "options",
    "transfer": "downstream",
    "wilson": "statistics",
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
    "EvaluationError",
    "Evaluator",
    "Fitted",
    "Hold",
    "InputError",
    "Job",
    "Layer",
    "Mask",
    "MismatchError",
    "OutputError",
    "PackedBits",
    "Pictures",
    "PluginError",
    "Pretraining",
    "Prior",
    "PriorChoice",
    "Provenance",
    "Robustifier",
    "Round",
    "Schedule",
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
    "cached_splits",
    "catalogue",
    "check_pixels",
    "check_predictions",
    "check_whole",
    "draw",
    "draw_glyphs",
    "evaluate",
    "fit",
    "hookimpl",
    "import_extra",
    "load_ticket",
    "normalised",
    "open_checkpoint",
    "reader_of",
    "recalibrate",
    "replace_head",
    "resolve",
    "spec_of",
    "transfer",
    "wilson",
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
