"""Measures as result files hold them: each evaluator's figures as plain data, and its warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from ticketkit.errors import printable
from ticketkit.estimates import EvaluationContext
from ticketkit.evaluation import measured, named
from ticketkit.options import spec_of
from ticketkit.parts import Evaluator, Task
from ticketkit.threats import ThreatModel

if TYPE_CHECKING:
    from ticketkit.parts import Batches, Dataset

_ATTACKED = 400
"""How many pictures of the test set, the same ones for every network, are attacked."""


def evaluators_of(specs: Iterable[str | Evaluator]) -> dict[str, Evaluator]:
    """The evaluators by their specs, every option written out: each once, in the order asked."""
    return {spec_of(part): part for _, part in named(specs)}


def measures(
    model: torch.nn.Module,
    data: Dataset | Batches,
    parts: Mapping[str, Evaluator],
    context: EvaluationContext,
) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Of each evaluator, as soon as they are known, its spec, its figures and what it warned of."""
    found = measured(model, data, parts, context)
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                spec, figures = next(found)
            except StopIteration:
                return
        words = dict.fromkeys(printable(str(each.message), 4000) for each in caught)
        yield spec, {name: asdict(each) for name, each in figures.items()}, list(words)


def of_training(task: Task, threat: ThreatModel) -> dict[str, Evaluator]:
    """What a trained network is measured by: the task's own metric, clean and under attack.

    Of classifiers all accuracies, as papers seldom say which of them they mean.
    """
    options = {
        "norm": threat.norm,
        "eps": threat.eps,
        "steps": threat.steps,
        "step": "none" if threat.step is None else threat.step,
        "random_start": str(threat.start == "random").lower(),
        "restarts": threat.restarts,
        "count": _ATTACKED,
        "metric": task.metric,
    }
    attack = ",".join(f"{name}={value}" for name, value in options.items())
    clean = [task.metric.partition(".")[0], *(() if task.segmentation else ("accuracy",))]
    return evaluators_of([*clean, f"adversarial:{attack}"])
