"""A draw that trains, of a file on a task: the network, the data and the run of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from ticketkit.checkpoint import Checkpoint
from ticketkit.distributed import world
from ticketkit.drawing import drawn
from ticketkit.environment import device_of
from ticketkit.errors import some
from ticketkit.experiments import Experiment, data_for, of_the_data, opened, ready
from ticketkit.jobs import Asked
from ticketkit.losses import cross_entropy
from ticketkit.mask import Mask
from ticketkit.opening import network_for
from ticketkit.options import spec_of, written
from ticketkit.parts import Task, brings
from ticketkit.presets import schedule_of, stage_of
from ticketkit.prunable import find_head, survey
from ticketkit.retraining import Recipe
from ticketkit.rounds import SERIES, TICKET
from ticketkit.sampled import sampled
from ticketkit.sharing import agree
from ticketkit.sources import source_of
from ticketkit.ticket import Ticket, load_ticket
from ticketkit.transplanting import placed

if TYPE_CHECKING:
    from ticketkit.loop import Report
    from ticketkit.stages import Run


@dataclass(frozen=True)
class Trained:
    """The ticket of a strategy that trains, and what its document tells beside it."""

    ticket: Ticket
    told: dict[str, Any]
    notes: list[str]


def draw_in_run(
    checkpoint: Checkpoint,
    experiment: Experiment,
    asked: Asked,
    *,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    report: Report | None,
) -> Trained:
    """Draw by a strategy that trains a checkpoint's network on a task, in a run.

    On the task that the checkpoint was trained on its head is kept (upstream), on any other one the
    network gets a new one (downstream). For segmentation it becomes the backbone of a segmenter:
    what that has beside it is trained and stays dense; the tickets of rounds have its names.
    """
    experiment.check_run()
    found = survey(checkpoint.tensors(), include, exclude, asked.parts.spares)
    asked.check_reachable(found.layers)
    task, robust = experiment.parts()
    data = data_for(experiment, task)
    upstream = trained_on(checkpoint, task, data.classes)
    network = network_for(
        checkpoint,
        experiment.arch,
        data.classes,
        data.shape[0],
        experiment.seed,
        segmentation=task.segmentation,
        skip_head=not upstream,
    )
    places = placed(found.layers, [name for name, _ in network.model.named_parameters()])
    spared = _beside(network.model, places)
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
        "seed": experiment.seed,
        "checkpoint": digest,
        "data": of_the_data(data),
        "processes": world().size,
    }
    agree("what they do", recipe)
    looks = brings(asked.parts.criterion, "collect")
    with opened(experiment, "prune", recipe, device, world()) as run:
        ticket = drawn(
            model,
            asked,
            include=include,
            exclude=(*exclude, *spared),
            digest=lambda: digest,
            counted=found.counts,
            task=spec_of(task),
            batches=sampled(data.train, experiment.seed, device) if looks else None,
            recipe=Recipe(
                data.train,
                schedule,
                cross_entropy,
                robust,
                experiment.seed,
                experiment.workers,
                report=report,
            ),
            run=run,
        )
        told = {name: recipe[name] for name in ("arch", "task", "robustifier", "fit", "head")}
        told |= {"run": run and str(run.path), "rounds": _rounds(run) if run else []}
        notes = list(run.notes) if run else []
    fresh = network.loaded.fresh
    return Trained(
        _named(ticket, places),
        told,
        notes + ([f"new, and trained: {some(fresh)}"] if fresh else []),
    )


def _beside(model: torch.nn.Module, places: Mapping[str, str]) -> list[str]:
    """The weights that a segmenter has beside its backbone: they are no part of a ticket."""
    if all(name == place for name, place in places.items()):
        return []
    layers = survey(source_of(model).tensors()).layers
    return sorted(set(layers) - set(places.values()))


def _named(ticket: Ticket, places: Mapping[str, str]) -> Ticket:
    """The ticket of a network by the names that the checkpoint has for its layers."""
    names = {place: name for name, place in places.items()}
    bits = {names[place]: ticket.mask.packed(place) for place in ticket.mask}
    return replace(ticket, mask=Mask(bits))


def trained_on(checkpoint: Checkpoint, task: Task, classes: int) -> bool:
    """Whether a checkpoint's head is the task's: its metadata tells, or else the head's size."""
    if told := checkpoint.pretraining:
        return _bare(told.task) == _bare(spec_of(task))
    head = find_head([tensor.name for tensor in checkpoint.tensors() if tensor.reason is None])
    return head is not None and checkpoint.shapes[head][0] == classes


def _bare(spec: str) -> str:
    """A spec without its options."""
    return re.sub(r":[^:=]*=.*", "", spec)


def _rounds(run: Run) -> list[dict[str, Any]]:
    """What each finished round aimed at, and what it kept."""
    tickets = [load_ticket(stage.path / TICKET) for stage in run.stages(SERIES)]
    return [
        {
            "number": number,
            "sparsity": ticket.provenance.sparsity,
            "kept": ticket.mask.kept,
            "weights": ticket.mask.size,
        }
        for number, ticket in enumerate(tickets, 1)
    ]
