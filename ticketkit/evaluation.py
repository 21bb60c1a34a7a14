"""What a network is worth on data: one forward pass, shared by every evaluator."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import torch

from ticketkit.blame import blamed
from ticketkit.errors import UsageError
from ticketkit.guards import check_finite
from ticketkit.inference import answers, evaluated
from ticketkit.options import resolve, spec_of
from ticketkit.parts import Accumulator, Estimate, Evaluator

if TYPE_CHECKING:
    from ticketkit.parts import Batches, Dataset


def evaluate(
    model: torch.nn.Module,
    data: Dataset | Batches,
    evaluators: Iterable[str | Evaluator],
    *,
    batch: int = 256,
) -> dict[str, Estimate]:
    """Measure a network by each evaluator, keyed by its spec: as given, or as `spec_of` writes it.

    `data` is a map-style data set of (picture, target), read in batches of at most `batch`, or an
    iterable of batches (inputs, targets) such as a loader. Inputs go to the network's device and
    floating dtype, pictures in uint8 divided by 255. The network is in eval mode, without
    gradients; its modes and torch's generators are restored. EvaluationError where there is no
    data, or an output is not finite; PluginError where an evaluator fails.

    >>> ticketkit.evaluate(model, test_set, ["accuracy"])["accuracy"].value
    0.912
    """
    parts = dict(_named(evaluators))
    started = [(part, _start(part)) for part in parts.values()]
    first = 0
    with evaluated(model):
        for outputs, targets in answers(model, data, batch):
            check_finite(outputs, first)
            for part, accumulator in started:
                _update(part, accumulator, outputs, targets)
            first += len(outputs)
    return {
        spec: _computed(part, accumulator)
        for spec, (part, accumulator) in zip(parts, started, strict=True)
    }


def _named(evaluators: Iterable[str | Evaluator]) -> Iterator[tuple[str, Evaluator]]:
    if isinstance(evaluators, str | Evaluator):
        raise UsageError(f"evaluators is a list of specs, such as ['accuracy']: {evaluators!r}")
    empty = True
    for spec in evaluators:
        empty = False
        part = cast("Evaluator", resolve("evaluator", spec))
        yield spec if isinstance(spec, str) else spec_of(part), part
    if empty:
        raise UsageError("evaluators is empty: at least one, such as 'accuracy', is needed")


def _start(part: Evaluator) -> Accumulator:
    with blamed(part):
        return part.start()


def _update(
    part: Evaluator, accumulator: Accumulator, outputs: torch.Tensor, targets: torch.Tensor
) -> None:
    before = outputs._version, targets._version
    with blamed(part):
        accumulator.update(outputs, targets)
        if before != (outputs._version, targets._version):
            raise ValueError("update changed outputs or targets, which evaluators share")


def _computed(part: Evaluator, accumulator: Accumulator) -> Estimate:
    with blamed(part):
        found = accumulator.compute()
        if not isinstance(found, Estimate):
            kind = type(found).__name__
            raise TypeError(f"compute returned {kind}, where a ticketkit.Estimate is expected")
        if not math.isfinite(found.value):
            raise ValueError(f"compute returned the value {found.value}")
        return found
