"""ticketkit draws sparse tickets from PyTorch checkpoints, and keeps them sparse.

A ticket is a subnetwork that keeps its pretrained weights: f(· ; m ⊙ θ_pre). Start with `draw`,
`Ticket` and `Mask`; write a plugin with `BlockScheme`, `Criterion` or `Allocation` and `hookimpl`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ticketkit.attacking import attacked
    from ticketkit.attacks import attack, check_pixels
    from ticketkit.batching import batches_of, sample_of
    from ticketkit.batchnorm import recalibrate
    from ticketkit.bits import PackedBits
    from ticketkit.budgets import Budget
    from ticketkit.caching import cached_splits
    from ticketkit.certificates import ABSTAIN, Certificate, certified_radius, check_smoothing
    from ticketkit.certification import Smoothed
    from ticketkit.checkpoint import Checkpoint, open_checkpoint
    from ticketkit.choices import Parts
    from ticketkit.cifar import cifar_pictures
    from ticketkit.corruptions import CORRUPTIONS, check_corruption, corrupt
    from ticketkit.costs import count_macs, count_weights, time_forward
    from ticketkit.datafiles import check_classes, labelled, read_lines, read_mat, reading
    from ticketkit.datasets import data_of
    from ticketkit.downloads import download_set
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
    from ticketkit.estimates import Accumulator, Estimate, EvaluationContext, Figures
    from ticketkit.evaluation import evaluate, figure_of, measured_by, metric_of
    from ticketkit.extras import import_extra
    from ticketkit.frechet import frechet_distance
    from ticketkit.glyphs import draw_glyphs
    from ticketkit.guards import check_dimensions, check_finite, check_predictions
    from ticketkit.heads import replace_head
    from ticketkit.holding import Hold
    from ticketkit.hookspecs import hookimpl
    from ticketkit.imagefiles import ImageFiles
    from ticketkit.imagefolders import class_folders, image_folders, split_classes
    from ticketkit.imagemaps import ImageMaps
    from ticketkit.inference import outputs_of, placed
    from ticketkit.layer import Layer
    from ticketkit.loop import Fitted
    from ticketkit.losses import IGNORED
    from ticketkit.mask import Mask
    from ticketkit.normalising import normalised
    from ticketkit.options import resolve, spec_of
    from ticketkit.parts import (
        PHOTOGRAPHS,
        Allocation,
        BlockScheme,
        Context,
        Criterion,
        Evaluator,
        FinishedRound,
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
    from ticketkit.places import located
    from ticketkit.pretrained import Lineage, Pretraining
    from ticketkit.prunable import Counts
    from ticketkit.ranges import check_whole
    from ticketkit.registry import catalogue
    from ticketkit.schedules import Schedule
    from ticketkit.scoring import reader_of
    from ticketkit.stacking import pixels
    from ticketkit.statistics import auc_interval, bootstrap, mean_interval, median_interval, wilson
    from ticketkit.threats import ThreatModel
    from ticketkit.ticket import Provenance, Ticket, load_ticket
    from ticketkit.training import fit

# Where each public name lives. `import ticketkit` loads none of them: torch costs seconds.
_HOMES = {
    "ABSTAIN": "certificates",
    "Accumulator": "estimates",
    "Allocation": "parts",
    "BlockScheme": "parts",
    "Budget": "budgets",
    "CORRUPTIONS": "corruptions",
    "Certificate": "certificates",
    "Checkpoint": "checkpoint",
    "CheckpointError": "errors",
    "Context": "parts",
    "Counts": "prunable",
    "Criterion": "parts",
    "Estimate": "estimates",
    "EvaluationContext": "estimates",
    "EvaluationError": "errors",
    "Evaluator": "parts",
    "Figures": "estimates",
    "FinishedRound": "parts",
    "Fitted": "loop",
    "Hold": "holding",
    "IGNORED": "losses",
    "ImageFiles": "imagefiles",
    "ImageMaps": "imagemaps",
    "InputError": "errors",
    "Job": "parts",
    "Layer": "layer",
    "Lineage": "pretrained",
    "Mask": "mask",
    "MismatchError": "errors",
    "OutputError": "errors",
    "PHOTOGRAPHS": "parts",
    "PackedBits": "bits",
    "Parts": "choices",
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
    "Smoothed": "certification",
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
    "attacked": "attacking",
    "batches_of": "batching",
    "auc_interval": "statistics",
    "bootstrap": "statistics",
    "cached_splits": "caching",
    "catalogue": "registry",
    "certified_radius": "certificates",
    "check_classes": "datafiles",
    "check_corruption": "corruptions",
    "check_dimensions": "guards",
    "check_finite": "guards",
    "check_pixels": "attacks",
    "check_predictions": "guards",
    "check_smoothing": "certificates",
    "check_whole": "ranges",
    "cifar_pictures": "cifar",
    "class_folders": "imagefolders",
    "corrupt": "corruptions",
    "count_macs": "costs",
    "count_weights": "costs",
    "data_of": "datasets",
    "download_set": "downloads",
    "draw": "drawing",
    "draw_glyphs": "glyphs",
    "evaluate": "evaluation",
    "figure_of": "evaluation",
    "fit": "training",
    "frechet_distance": "frechet",
    "hookimpl": "hookspecs",
    "image_folders": "imagefolders",
    "import_extra": "extras",
    "labelled": "datafiles",
    "load_ticket": "ticket",
    "located": "places",
    "mean_interval": "statistics",
    "measured_by": "evaluation",
    "median_interval": "statistics",
    "metric_of": "evaluation",
    "normalised": "normalising",
    "open_checkpoint": "checkpoint",
    "outputs_of": "inference",
    "pixels": "stacking",
    "placed": "inference",
    "read_lines": "datafiles",
    "read_mat": "datafiles",
    "reader_of": "scoring",
    "reading": "datafiles",
    "recalibrate": "batchnorm",
    "replace_head": "heads",
    "resolve": "options",
    "sample_of": "batching",
    "spec_of": "options",
    "split_classes": "imagefolders",
    "time_forward": "costs",
    "transfer": "downstream",
    "wilson": "statistics",
}

__all__ = [
    "ABSTAIN",
    "CORRUPTIONS",
    "IGNORED",
    "PHOTOGRAPHS",
    "Accumulator",
    "Allocation",
    "BlockScheme",
    "Budget",
    "Certificate",
    "Checkpoint",
    "CheckpointError",
    "Context",
    "Counts",
    "Criterion",
    "Estimate",
    "EvaluationContext",
    "EvaluationError",
    "Evaluator",
    "Figures",
    "FinishedRound",
    "Fitted",
    "Hold",
    "ImageFiles",
    "ImageMaps",
    "InputError",
    "Job",
    "Layer",
    "Lineage",
    "Mask",
    "MismatchError",
    "OutputError",
    "PackedBits",
    "Parts",
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
    "Smoothed",
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
    "attacked",
    "auc_interval",
    "batches_of",
    "bootstrap",
    "cached_splits",
    "catalogue",
    "certified_radius",
    "check_classes",
    "check_corruption",
    "check_dimensions",
    "check_finite",
    "check_pixels",
    "check_predictions",
    "check_smoothing",
    "check_whole",
    "cifar_pictures",
    "class_folders",
    "corrupt",
    "count_macs",
    "count_weights",
    "data_of",
    "download_set",
    "draw",
    "draw_glyphs",
    "evaluate",
    "figure_of",
    "fit",
    "frechet_distance",
    "hookimpl",
    "image_folders",
    "import_extra",
    "labelled",
    "load_ticket",
    "located",
    "mean_interval",
    "measured_by",
    "median_interval",
    "metric_of",
    "normalised",
    "open_checkpoint",
    "outputs_of",
    "pixels",
    "placed",
    "read_lines",
    "read_mat",
    "reader_of",
    "reading",
    "recalibrate",
    "replace_head",
    "resolve",
    "sample_of",
    "spec_of",
    "split_classes",
    "time_forward",
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
