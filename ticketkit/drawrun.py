"""A draw that trains, of a file on a task: the network, the data and the run of it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ticketkit.augmenting import as_evaluated
from ticketkit.checkpoint import Checkpoint
from ticketkit.distributed import world
from ticketkit.drawing import drawn
from ticketkit.environment import device_of
from ticketkit.errors import InputError, some
from ticketkit.experiments import Experiment, data_for, of_the_data, ready
from ticketkit.jobs import Asked
from ticketkit.losses import cross_entropy
from ticketkit.opening import network_for
from ticketkit.options import options_of, spec_of, written
from ticketkit.outcomes import opened
from ticketkit.parts import Task, brings
from ticketkit.presets import schedule_of, stage_of
from ticketkit.prunable import find_head
from ticketkit.pruning import Drawn
from ticketkit.retraining import Recipe
from ticketkit.rounds import SERIES, TICKET, Rounds
from ticketkit.sampled import sampled
from ticketkit.sharing import agree
from ticketkit.ticket import Ticket, load_ticket
from ticketkit.viewing import View

if TYPE_CHECKING:
    from ticketkit.loop import Report
    from ticketkit.stages import Run


def draw_in_run(
    checkpoint: Checkpoint,
    experiment: Experiment,
    asked: Asked,
    *,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    new_head: bool = False,
    check: Callable[[Ticket | None], None] = lambda finished: None,
    report: Report | None = None,
) -> Drawn:
    """Draw by a strategy that trains a checkpoint's network on a task, in a run.

    On the task that the checkpoint was trained on its head is kept (upstream), on any other one, or
    with `new_head`, the network gets a new one (downstream). For segmentation it becomes the
    backbone of a segmenter: what that has beside it is trained and stays dense; the tickets of
    rounds have its names. `check` is called before any training, with the ticket of a run that has
    come to its end.
    """
    experiment.check_run()
    task, robust = experiment.parts()
    data = data_for(experiment, task)
    upstream = not new_head and trained_on(checkpoint, task, data.classes)
    network = network_for(
        checkpoint,
        experiment.arch,
        data.classes,
        data.shape[0],
        asked.seed,
        segmentation=task.segmentation,
        skip_head=not upstream,
    )
    view = View.of(network.model, checkpoint)
    found = view.survey(include, exclude, asked.parts.spares)
    if not upstream:
        view.check_heads(found)
    asked.check_reachable(found.layers)
    schedule = schedule_of(
        experiment.fit,
        stage_of(asked.parts.strategy, upstream=upstream),
        task=task.name,
        segmentation=task.segmentation,
        robust=robust is not None,
        count=len(data.train),  # type: ignore[arg-type]  # it was checked
    )
    device, digest = device_of(experiment.device), checkpoint.digest()
    model = ready(network.model, device)
    recipe: dict[str, Any] = {
        "command": "prune",
        **asked.parts.specs(),
        "sparsity": asked.sparsity,
        "include": list(include),
        "exclude": list(exclude),
        "allow_empty_layers": asked.allow_empty_layers,
        "arch": network.arch,
        "task": spec_of(task),
        "robustifier": None if robust is None else spec_of(robust),
        "fit": written(schedule),
        "head": "kept" if upstream else "new",
        "seed": asked.seed,
        "checkpoint": digest,
        "data": of_the_data(data),
        "processes": world().size,
    }
    agree("what they do", recipe)
    looks = brings(asked.parts.criterion, "collect")
    seen = as_evaluated(data.train, schedule)
    with opened(experiment, "prune", recipe, device, world()) as run:
        if world().leads:
            finished = Rounds(run, None, alone=True)
            check(view.named(finished.last.ticket) if finished.over and finished.last else None)
        ticket = drawn(
            model,
            asked,
            view.on_network(found),
            include=include,
            exclude=exclude,
            digest=lambda: digest,
            about={name: recipe[name] for name in ("task", "arch", "head")},
            batches=sampled(seen, asked.seed, device) if looks else None,
            recipe=Recipe(
                data.train,
                schedule,
                cross_entropy,
                robust,
                asked.seed,
                experiment.workers,
                report=report,
            ),
            run=run,
        )
        told = {name: recipe[name] for name in ("arch", "task", "robustifier", "fit", "head")}
        told |= {"run": run and str(run.path), "rounds": _rounds(run) if run else []}
        notes = list(run.notes) if run else []
    if upstream and not checkpoint.pretraining:
        notes.append(
            f"the file tells no task: its head is kept, as it is for {data.classes} classes too "
            "(--new-head replaces it)"
        )
    fresh = network.loaded.fresh
    notes += [f"new, and trained: {some(fresh)}"] if fresh else []
    return Drawn(view.named(ticket), found.spared, told, notes)


def trained_on(checkpoint: Checkpoint, task: Task, classes: int) -> bool:
    """Whether a checkpoint's head is the task's: its metadata tells, or else the head's size."""
    if told := checkpoint.pretraining:
        return _identity(told.task, task) == _identity(spec_of(task), task)
    head = find_head([tensor.name for tensor in checkpoint.tensors() if tensor.reason is None])
    return head is not None and checkpoint.shapes[head][0] == classes


def _identity(spec: str, task: Task) -> tuple[str, frozenset[str]]:
    """What names a task's data: its name and those of its options that have no default."""
    bare, _, options = re.sub(r":([^:=]*=.*)", r"\n\1", spec).partition("\n")
    needed = {option.name for option in options_of(type(task)) if option.default == "required"}
    named = {item for item in options.split(",") if item.partition("=")[0].strip() in needed}
    return bare, frozenset(named)


def _rounds(run: Run) -> list[dict[str, Any]]:
    """What each finished round aimed at, and what it kept."""
    tickets = {}
    for stage in run.stages(SERIES):
        with contextlib.suppress(InputError):  # an earlier one may have been damaged since
            tickets[stage.order[0]] = load_ticket(stage.path / TICKET)
    return [
        {
            "number": number,
            "sparsity": ticket.provenance.sparsity,
            "kept": ticket.mask.kept,
            "weights": ticket.mask.size,
        }
        for number, ticket in tickets.items()
    ]
