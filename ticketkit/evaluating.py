"""What a checkpoint is worth on a task: the work behind `evaluate`, in a run that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import ticketkit
from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.errors import UsageError, printable
from ticketkit.experiments import OnTask, data_for
from ticketkit.opening import told_by_code
from ticketkit.options import names_code, resolve
from ticketkit.outcomes import RESULT, finished, opened
from ticketkit.parts import Task
from ticketkit.resultfile import ResultFiles, read_result, result_text, write_result
from ticketkit.subject import of_the_test, subject_of
from ticketkit.ticket import load_ticket
from ticketkit.versions import code_here, versions_of

if TYPE_CHECKING:
    import torch

    from ticketkit.stages import Run

_FIGURES = "figures.json"


@dataclass(frozen=True)
class Evaluation(OnTask):
    """What `ticketkit evaluate` was asked for; an empty `task` is the one that the file tells."""

    checkpoint: Path = Path()
    evaluators: tuple[str, ...] = ()
    """Their specs; none for what the task is measured by."""
    ticket: Path | None = None
    """Its mask is applied first; None for the weights as they are."""
    crop: int | None = None
    """The side of the middle that is measured of pictures; 0 for all of them, None as usual."""
    batch: int = 256
    output: Path | None = None
    """Where the result goes, beside the run, with a table beside it; None for nowhere else."""
    verify: bool = True
    checkpoint_key: str | None = None

    def check(self) -> None:
        super().check()
        if self.batch < 1:
            raise UsageError(f"batch is a number of pictures from 1 on, found {self.batch}")
        if self.crop is not None and self.crop < 0:
            raise UsageError(f"crop is a number of pixels, 0 for whole pictures; found {self.crop}")
        inputs = [each for each in (self.checkpoint, self.ticket) if each]
        # Where a run may be gone on with, what is there may be its own.
        self.files.check(inputs, force=self.force or self.resume or self.run is None)

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
    content is gone on with unasked, as nothing has changed that its figures depend on.
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
    task = checkpoint.pretraining.task
    if names_code(task):
        raise UsageError(told_by_code(checkpoint.path, "task", task))
    return task


class _Evaluation:
    """Evaluators and what they measure."""

    def __init__(self, request: Evaluation, checkpoint: Checkpoint, device: torch.device) -> None:
        from ticketkit.measuring import evaluators_of

        self._request, self._device = request, device
        self._task = cast("Task", resolve("task", request.task))
        metric = self._task.metric.partition(".")[0]
        self._parts = evaluators_of(request.evaluators or (metric,))
        ticket = load_ticket(request.ticket, request.verify) if request.ticket else None
        self._subject = subject_of(
            checkpoint,
            ticket,
            self._task,
            data_for(request, self._task),
            arch=request.arch,
            crop=request.crop,
            verify=request.verify,
            device=device,
        )

    def in_run(self) -> Evaluated:
        """The result of all evaluators, of whom each is a stage of the run."""
        from ticketkit.distributed import world
        from ticketkit.runs import default_run

        if world().size > 1:
            raise UsageError("evaluate runs in one process: start it without torchrun")
        asked = self._request
        asked = replace(asked, resume=asked.resume or asked.run is None)
        if not (asked.run or default_run("evaluate", self._recipe)).exists():
            asked.files.check_others(None, force=asked.force)
        with opened(asked, "evaluate", self._recipe, self._device, world()) as run:
            assert run is not None
            done = finished(run)
            if done:
                notes = list(dict.fromkeys([*done["notes"], *run.notes]))
                # The same weights may have had another name.
                done = {**done, "checkpoint": self._file, "notes": notes}
            self._request.files.check_others(done, force=self._request.force)
            if done:
                return Evaluated(done, run.path, before=True)
            document = self._document(run)
            with run.stage(RESULT) as folder:
                return Evaluated(write_result(folder, document), run.path, before=False)

    @property
    def _file(self) -> dict[str, str]:
        identity = self._subject.identity
        return {"file": self._request.checkpoint.name, "sha256": identity["checkpoint"]}

    @cached_property
    def _recipe(self) -> dict[str, Any]:
        """What decides the figures: another batch decides nothing."""
        from ticketkit.environment import environment

        parts = self._parts.values()
        return {
            "command": "evaluate",
            **self._subject.identity,
            "evaluators": list(self._parts),
            "seed": self._request.seed,
            "other_data": self._other_data(),
            "versions": versions_of(self._task, *parts),
            "code": code_here(),
            "environment": environment(self._device),
        }

    def _other_data(self) -> dict[str, Any]:
        """What tells apart the test sets of other tasks, which evaluators look at too."""
        from ticketkit.datasets import data_of

        specs = {spec for part in self._parts.values() for spec in part.other_tasks}
        tasks = {spec: cast("Task", resolve("task", spec)) for spec in sorted(specs)}
        data = {spec: data_of(task, self._request.data) for spec, task in tasks.items()}
        return {spec: of_the_test(found) for spec, found in data.items()}

    def _document(self, run: Run) -> dict[str, Any]:
        from ticketkit.environment import environment

        found = dict(self._measured(run))
        notes = [note for each in found.values() for note in each["notes"]]
        subject, asked = self._subject, self._request
        told = {name: subject.identity[name] for name in ("task", "arch", "crop")}
        return {
            "schema": "ticketkit.evaluate/1",
            "version": ticketkit.__version__,
            **told,
            "data": subject.data,
            "seed": asked.seed,
            "batch": asked.batch,
            "checkpoint": self._file,
            **subject.origin,
            "results": {spec: found[spec]["figures"] for spec in self._parts},
            "environment": environment(self._device),
            "versions": versions_of(self._task, *self._parts.values()),
            "notes": [*subject.notes, *run.notes, *notes],
        }

    def _measured(self, run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
        """What each evaluator found, and its stage once it is known."""
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
        subject = self._subject
        found_now = measures(subject.model, subject.test, left, context) if left else ()
        for spec, figures, notes in found_now:
            found = {"figures": figures, "notes": notes}
            with run.stage(names[spec]) as folder:
                (folder / _FIGURES).write_text(result_text(found), encoding="utf-8")
            yield spec, found


def _finished(run: Run, name: str) -> dict[str, Any] | None:
    """What the stage of an evaluator holds; None where there is none, or it is broken."""
    stage = run.newest(name)
    return None if stage is None else read_result(stage.path / _FIGURES)
