"""What a network is worth on data: one forward pass, shared by all evaluators that need no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from ticketkit.blame import blamed
from ticketkit.errors import UsageError, printable, some
from ticketkit.estimates import Accumulator, Estimate, EvaluationContext, Figures
from ticketkit.guards import check_finite
from ticketkit.inference import as_found, evaluated, outputs_of
from ticketkit.options import resolve, spec_of
from ticketkit.parts import Evaluator, brings
from ticketkit.progress import Advance, stage
from ticketkit.stacking import count_of

if TYPE_CHECKING:
    from ticketkit.parts import Batches, Dataset


def evaluate(
    model: torch.nn.Module,
    data: Dataset | Batches,
    evaluators: Iterable[str | Evaluator],
    *,
    batch: int = 256,
    seed: int = 0,
    root: Path | None = None,
) -> dict[str, Figures]:
    """Measure a network by each evaluator: its figures, keyed by its spec.

    That is the text that was given or, of an instance, its spec written out: `NAME:options`, or
    `module:Class` where no plugin offers the class.

    `data` is a map-style data set of (picture, target), read in batches of at most `batch`, or an
    iterable of batches (inputs, targets) such as a loader. Inputs go to the network's device and
    floating dtype, pictures in uint8 divided by 255. The network is in eval mode, without
    gradients; its modes and torch's generators are restored. `seed` is that of whatever an
    evaluator draws, `root` the folder in which other data lies that one may need. EvaluationError
    where there is no data, or an output is not finite; PluginError where an evaluator fails.

    >>> ticketkit.evaluate(model, test_set, ["accuracy"])["accuracy"]["top1"].value
    0.912
    """
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"model is a torch.nn.Module, found {type(model).__name__}")
    parts = dict(named(evaluators))
    found = dict(measured(model, data, parts, EvaluationContext(seed, batch, root)))
    return {spec: found[spec] for spec in parts}


def measured(
    model: torch.nn.Module,
    data: Dataset | Batches,
    parts: Mapping[str, Evaluator],
    context: EvaluationContext,
) -> Iterator[tuple[str, Figures]]:
    """Each evaluator's spec and figures, as soon as they are known."""
    alone = [spec for spec, part in parts.items() if brings(part, "evaluate")]
    started = {spec: _start(part) for spec, part in parts.items() if brings(part, "start")}
    _check_passes(data, len(alone) + bool(started))
    if started:
        _share(model, data, [(parts[spec], each) for spec, each in started.items()], context.batch)
    for spec, accumulator in started.items():
        if spec not in alone:
            yield spec, _computed(parts[spec], accumulator)
    for spec in alone:
        told = replace(context, gathered=started.get(spec))
        with blamed(parts[spec]), evaluated(model), as_found(model):
            figures = _checked(parts[spec].evaluate(model, data, told), "evaluate")  # type: ignore[arg-type]
        yield spec, figures


def named(evaluators: Iterable[str | Evaluator]) -> Iterator[tuple[str, Evaluator]]:
    """Each evaluator and its spec: as it was given, or as `spec_of` writes it."""
    if isinstance(evaluators, str | Evaluator):
        raise UsageError(f"evaluators is a list of specs, such as ['accuracy']: {evaluators!r}")
    empty = True
    for spec in evaluators:
        empty = False
        part = cast("Evaluator", resolve("evaluator", spec))
        if not isinstance(getattr(part, "name", None), str):
            raise UsageError(f"an evaluator has a name, a text: {type(part).__name__} has none")
        if not (brings(part, "start") or brings(part, "evaluate")):
            raise UsageError(f"evaluator {part.name!r} has neither start nor evaluate")
        yield spec if isinstance(spec, str) else spec_of(part), part
    if empty:
        raise UsageError("evaluators is empty: at least one, such as 'accuracy', is needed")


def figure_of(results: Mapping[str, Figures], metric: str) -> Estimate:
    """The figure of a `metric`, as tasks name it, among the results of evaluators by their specs.

    It is an evaluator's name, or its whole spec, for the first of its figures, or names one:
    `"accuracy.per_class"`. A `UsageError` where no evaluator, or none of its figures, has that
    name.
    """
    for part, name in _splits(metric):
        for spec, figures in results.items():
            if part in (spec, spec.partition(":")[0]) and (not name or name in figures):
                return figures[name] if name else next(iter(figures.values()))
    every = [f"{spec}.{name}" for spec, figures in results.items() for name in figures]
    raise UsageError(f"no figure {printable(metric)!r} was measured; found {some(every)}")


def metric_of(metric: str) -> Evaluator:
    """The evaluator of a `metric`, for one that measures by it, on pictures that it changed.

    A `UsageError` unless it needs outputs alone.
    """
    return _metric(metric)[1]


def _metric(metric: str) -> tuple[str, Evaluator]:
    """The evaluator of a metric, and its spec."""
    wrong = []
    for spec, _ in _splits(metric):
        try:
            part = cast("Evaluator", resolve("evaluator", spec))
        except UsageError as error:
            wrong.append(error)
            continue
        if brings(part, "start") and not brings(part, "evaluate"):
            return spec, part
        raise UsageError(
            f"metric is an evaluator of outputs alone, such as accuracy, found {printable(spec)!r}"
        )
    # What is told of the longest text before a dot: a figure's name is no evaluator's.
    raise wrong[min(1, len(wrong) - 1)]


def _splits(metric: str) -> Iterator[tuple[str, str]]:
    """How a metric may be a spec, and a figure's name after a dot: specs may have dots too."""
    yield metric, ""
    for place, letter in enumerate(metric):
        if letter == ".":
            yield metric[:place], metric[place + 1 :]


def measured_by(metric: str, outputs: Batches, advance: Advance = lambda count: None) -> Estimate:
    """The figure of a `metric`, as tasks name it, of a network's outputs and targets, in batches.

    Such as `outputs_of` makes of pictures that an evaluator changed. `advance` hears how many
    samples of each batch are done. Outputs and targets are checked, and what the metric does wrong
    is told, as by `evaluate`; a `UsageError` for a metric as of `metric_of` and `figure_of`.
    """
    spec, part = _metric(metric)
    accumulator = _start(part)
    _gather(outputs, [(part, accumulator)], advance)
    return figure_of({spec: _computed(part, accumulator)}, metric)


def _share(
    model: torch.nn.Module,
    data: Dataset | Batches,
    started: list[tuple[Evaluator, Accumulator]],
    batch: int,
) -> None:
    """One pass over the data, of which each accumulator takes in every batch."""
    with evaluated(model), stage("evaluating", count_of(data), "pictures") as advance:
        _gather(outputs_of(model, data, batch), started, advance)


def _gather(
    outputs: Batches, started: list[tuple[Evaluator, Accumulator]], advance: Advance
) -> None:
    first = 0
    for found, targets in outputs:
        check_finite(found, first)
        for part, accumulator in started:
            _update(part, accumulator, found, targets)
        first += len(found)
        advance(len(found))


def _start(part: Evaluator) -> Accumulator:
    with blamed(part):
        return part.start()


def _computed(part: Evaluator, accumulator: Accumulator) -> Figures:
    with blamed(part):
        return _checked(accumulator.compute(), "compute")


def _update(
    part: Evaluator, accumulator: Accumulator, outputs: torch.Tensor, targets: torch.Tensor
) -> None:
    before = outputs._version, targets._version
    with blamed(part):
        accumulator.update(outputs, targets)
        if before != (outputs._version, targets._version):
            raise ValueError("update changed outputs or targets, which evaluators share")


def _check_passes(data: Any, passes: int) -> None:
    if passes > 1 and isinstance(data, Iterator):
        raise UsageError(
            f"{passes} passes over the data are needed, and an iterator has but one: give a data "
            "set, or a list of batches"
        )


def _checked(found: object, method: str) -> Figures:
    """What an evaluator returned, if it is what it should be."""
    if not isinstance(found, Mapping) or not found:
        kind = "nothing" if isinstance(found, Mapping) else type(found).__name__
        raise TypeError(f"{method} returned {kind}, where figures, {{name: Estimate}}, are due")
    for name, estimate in found.items():
        if not isinstance(name, str) or not isinstance(estimate, Estimate):
            pair = f"{name!r}: {type(estimate).__name__}"
            raise TypeError(f"{method} returned {pair}, where a name and a ticketkit.Estimate go")
    return dict(found)
