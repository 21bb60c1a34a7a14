"""What a checkpoint is worth on a task: the work behind `evaluate`, in a run that goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import ticketkit
from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.describe import (
    of_normalisation,
    origin_document,
    ticket_origin,
    without_normalisation,
)
from ticketkit.errors import UsageError, printable
from ticketkit.experiments import OnTask, data_for, of_the_data, ready
from ticketkit.imagefiles import ImageFiles
from ticketkit.options import resolve, spec_of
from ticketkit.outcomes import RESULT, opened
from ticketkit.parts import Task
from ticketkit.presets import schedule_of
from ticketkit.resultfile import DOCUMENT, ResultFiles, read_result, result_text, write_result
from ticketkit.ticket import Ticket, load_ticket
from ticketkit.versions import versions_of

if TYPE_CHECKING:
    import torch

    from ticketkit.schedules import Schedule
    from ticketkit.stages import Run

_FIGURES = "figures.json"
_UNTOLD = 0.01
"""The share of zeros, beside those of a known ticket, from which on a ticket is asked for."""


@dataclass(frozen=True)
class Evaluation(OnTask):
    """What `ticketkit evaluate` was asked for; an empty `task` is the one that the file tells."""

    checkpoint: Path = Path()
    evaluators: tuple[str, ...] = ()
    """Their specs; none for what the task is measured by."""
    ticket: Path | None = None
    """Its mask is applied first; None for the weights as they are."""
    fit: str | None = None
    """The schedule whose crops are measured; None for that of the file, where it tells one."""
    batch: int = 256
    output: Path | None = None
    """Where the result goes, beside the run, with a table beside it; None for nowhere else."""
    verify: bool = True
    checkpoint_key: str | None = None

    def check(self) -> None:
        super().check()
        if self.batch < 1:
            raise UsageError(f"batch is a number of pictures from 1 on, found {self.batch}")
        inputs = [each for each in (self.checkpoint, self.ticket) if each]
        self.files.check(inputs, force=self.force or self.resume)

    @property
    def files(self) -> ResultFiles:
        return ResultFiles(self.output)


class Evaluated(NamedTuple):
    """What a checkpoint was found to be worth."""

    document: dict[str, Any]
    """As its file holds it."""
    run: Path
    before: bool
    """Whether the run had come to its end before."""


def evaluated_in_run(request: Evaluation) -> Evaluated:
    """Measure a checkpoint on a task.

    Evaluators that an interrupted run had finished are not asked again. A run that is named by its
    content is gone on with unasked: whatever it holds was measured by the same command line.
    """
    checkpoint = open_checkpoint(request.checkpoint, request.checkpoint_key)
    request = replace(request, task=request.task or _told_task(checkpoint))
    request.check()
    request.check_run()
    from ticketkit.environment import device_of

    with request.files.reserved() as write:
        found = _Evaluation(request, checkpoint, device_of(request.device)).in_run()
        write(found.document)
    return found


def _told_task(checkpoint: Checkpoint) -> str:
    if checkpoint.pretraining is None:
        raise UsageError(
            f"{printable(str(checkpoint.path))} does not tell what task it was trained on: give "
            "one with --task, such as --task cifar10"
        )
    return checkpoint.pretraining.task


class _Evaluation:
    """A network and the test pictures of a task."""

    def __init__(self, request: Evaluation, checkpoint: Checkpoint, device: torch.device) -> None:
        from ticketkit.measuring import evaluators_of
        from ticketkit.opening import network_for

        self._request, self._checkpoint, self._device = request, checkpoint, device
        self._task = cast("Task", resolve("task", request.task))
        metric = self._task.metric.partition(".")[0]
        self._parts = evaluators_of(request.evaluators or (metric,))
        self._ticket = request.ticket and load_ticket(request.ticket, request.verify)
        self._origin = origin_document(checkpoint.pretraining)
        if self._ticket:
            self._origin["ticket"] = ticket_origin(self._ticket)
        self._digest = checkpoint.digest()
        self._data = data_for(request, self._task)
        self._schedule = self._chosen_schedule()
        channels = self._data.shape[0]
        opened = network_for(
            checkpoint,
            request.arch,
            self._data.classes,
            channels,
            segmentation=self._task.segmentation,
        )
        self._arch, self._model = opened.arch, ready(opened.model, device)
        self._notes: list[str] = []
        told, here = checkpoint.pretraining, spec_of(self._task)
        if told is None:
            self._notes += [*of_normalisation(checkpoint), *without_normalisation(checkpoint)]
        elif told.task != here:
            self._notes.append(f"it was trained on {told.task}, and is measured on {here}")
        if self._ticket:
            self._notes += self._masked(self._ticket)
        self._notes += _on_untold_zeros(self._model, self._origin["ticket"])

    def in_run(self) -> Evaluated:
        """The result of all evaluators, of whom each is a stage of the run."""
        from ticketkit.distributed import world

        if world().size > 1:
            raise UsageError("evaluate runs in one process: start it without torchrun")
        asked = self._request
        asked = replace(asked, resume=asked.resume or asked.run is None)
        with opened(asked, "evaluate", self._recipe, self._device, world()) as run:
            assert run is not None
            stage = run.newest(RESULT)
            done = None if stage is None else read_result(stage.path / DOCUMENT)
            self._request.files.check_others(done, force=self._request.force)
            if done:
                return Evaluated(done, run.path, before=True)
            document = self._document(run)
            with run.stage(RESULT) as folder:
                return Evaluated(write_result(folder, document), run.path, before=False)

    @cached_property
    def _recipe(self) -> dict[str, Any]:
        """What decides the figures."""
        versions = versions_of(self._task, *self._parts.values())
        return {
            "command": "evaluate",
            "task": spec_of(self._task),
            "arch": self._arch,
            "checkpoint": self._digest,
            # Which the digest of the weights does not tell.
            "normalisation": self._checkpoint.normalisation(),
            "origin": self._origin,
            "masked": self._ticket is not None,
            "evaluators": list(self._parts),
            "seed": self._request.seed,
            "batch": self._request.batch,
            "crop": self._crop(),
            "data": of_the_data(self._data),
            # Of what computes them; torch's and NumPy's are the environment's, and noted.
            "versions": {n: v for n, v in versions.items() if n not in ("torch", "numpy")},
        }

    def _document(self, run: Run) -> dict[str, Any]:
        from ticketkit.environment import environment

        found = dict(self._measured(run))
        notes = [note for each in found.values() for note in each["notes"]]
        recipe = self._recipe
        return {
            "schema": "ticketkit.evaluate/1",
            "version": ticketkit.__version__,
            **{name: recipe[name] for name in ("task", "arch", "seed", "batch", "crop", "data")},
            "checkpoint": {"file": self._request.checkpoint.name, "sha256": self._digest},
            **self._origin,
            "results": {spec: found[spec]["figures"] for spec in self._parts},
            "environment": environment(self._device),
            "versions": versions_of(self._task, *self._parts.values()),
            "notes": [*self._notes, *run.notes, *notes],
        }

    def _measured(self, run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
        """What each evaluator found, and its stage once it is known."""
        from ticketkit.augmenting import as_evaluated
        from ticketkit.estimates import EvaluationContext
        from ticketkit.measuring import measures

        names = {spec: f"evaluator-{n:02}-figures" for n, spec in enumerate(self._parts, 1)}
        left = dict(self._parts)
        for spec, name in names.items():
            if found := _finished(run, name):
                del left[spec]
                yield spec, found
        asked = self._request
        context = EvaluationContext(asked.seed, asked.batch, asked.data, asked.checkpoint)
        test = as_evaluated(self._data.test, self._schedule) if self._schedule else self._data.test
        for spec, figures, notes in measures(self._model, test, left, context) if left else ():
            found = {"figures": figures, "notes": notes}
            with run.stage(names[spec]) as folder:
                (folder / _FIGURES).write_text(result_text(found), encoding="utf-8")
            yield spec, found

    def _chosen_schedule(self) -> Schedule | None:
        """By which pictures are cropped: as was asked, as in training, or photographs as usual."""
        told = self._checkpoint.pretraining
        photographs = isinstance(self._data.test, ImageFiles)
        spec = self._request.fit or (told.fit if told else "paper" if photographs else None)
        if spec is None:
            return None
        return schedule_of(spec, "finetune", segmentation=self._task.segmentation)

    def _crop(self) -> int | None:
        """The side of the squares that are cut out of the middle of pictures, if they are."""
        schedule = self._schedule
        return schedule.size if schedule and schedule.augment == "crop" else None

    def _masked(self, ticket: Ticket) -> list[str]:
        """Set to zero what a ticket removes; refuse a ticket that has nothing to do with it."""
        from ticketkit.transplanting import mask_of, revived_in

        mask = mask_of(ticket, self._model)
        left = revived_in(self._model, mask)
        if left and self._request.verify:
            ticket.check_source(self._digest)
        mask.apply_(self._model)
        return [*_on_zeros(left, self._model)] if left else []


def _on_zeros(count: int, model: torch.nn.Module) -> Iterator[str]:
    from ticketkit.batchnorm import tracking

    yield f"{count:,} weights that the ticket removes were set to zero"
    if tracking(model):
        yield (
            "its BatchNorm statistics are still those of the dense network, which costs a sparse "
            "one much; transfer estimates them anew"
        )


def _on_untold_zeros(model: torch.nn.Module, ticket: Mapping[str, Any] | None) -> Iterator[str]:
    from ticketkit.costs import count_weights

    told = ticket["sparsity"]["reached"]["prunable"] if ticket else 0.0
    found = count_weights(model).sparsity or 0.0
    if found > told + _UNTOLD:
        known = f"where its ticket removed {told:.1%}" if ticket else "and no ticket is told"
        yield (
            f"{found:.1%} of its prunable weights are zero, {known}: name the ticket by --ticket, "
            "or results count it as it is told"
        )


def _finished(run: Run, name: str) -> dict[str, Any] | None:
    """What the stage of an evaluator holds; None where there is none, or it is broken."""
    stage = run.newest(name)
    return None if stage is None else read_result(stage.path / _FIGURES)
