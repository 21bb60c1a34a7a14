"""From a checkpoint on disk to a pruned one and its ticket: the work behind the command line."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.describe import (
    notes_on,
    of_normalisation,
    ticket_document,
    without_normalisation,
)
from ticketkit.errors import WeightsError, printable, some
from ticketkit.files import reserve
from ticketkit.masking import count_zeros
from ticketkit.outputs import check_absent, reserve_pruned
from ticketkit.prunable import survey
from ticketkit.request import Request, check_request
from ticketkit.ticket import Ticket

if TYPE_CHECKING:
    from ticketkit.choices import Parts
    from ticketkit.distributed import World
    from ticketkit.loop import Report

SPEED = "zeros alone speed nothing up: a pruned file has the size and the speed of the dense one"


@dataclass(frozen=True)
class Drawn:
    """A ticket, and what a document tells of how it was drawn."""

    ticket: Ticket
    spared: dict[str, str]
    """Why each parameter that might be pruned is not."""
    training: dict[str, Any] | None = None
    """What was trained, and the rounds; None where nothing was."""
    notes: list[str] = field(default_factory=list)


def prune(request: Request, report: Report | None = None) -> dict[str, Any]:
    """Draw a ticket from a file, write what was asked for, and return what was done.

    `report` is called with the events of a strategy that trains. Of many processes
    all but the leading one return nothing.
    """
    chosen = check_request(request)
    check_absent(request.outputs, force=request.force or request.resume)
    with contextlib.ExitStack() as stack:
        if not stack.enter_context(_together(request, chosen)).leads:
            _drawn(request, chosen, open_checkpoint(request.input, request.checkpoint_key), None)
            return {}
        kept = _kept(request)
        # The checkpoint is placed last: the ticket can be drawn again from what was there before.
        place = None
        if request.output and request.output not in kept:
            place = stack.enter_context(reserve_pruned(request.input, request.output))
        ticket_place = None
        if request.ticket not in kept:
            ticket_place = stack.enter_context(reserve(request.ticket))
        # Another command may have ended just now.
        check_absent(set(request.outputs) - kept, force=request.force)
        checkpoint = open_checkpoint(request.input, request.checkpoint_key)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = _drawn(request, chosen, checkpoint, report)
        ticket = found.ticket
        if request.with_values:
            ticket = ticket.with_values(checkpoint)
        zeros = _zeros_before(checkpoint, ticket)
        left = checkpoint.write(place, ticket.mask_for(checkpoint)) if place else []
        if ticket_place:
            ticket.write(ticket_place, request.encoding)
    notes = [*(str(each.message) for each in caught), *found.notes, *zeros, *notes_on(ticket)]
    notes += [f"{path} was there already, and is left as it is" for path in sorted(kept)]
    notes += of_the_file(checkpoint)
    if request.prior is not None or request.task is not None:
        notes += without_normalisation(checkpoint)
    notes += [*conversion(left), SPEED]
    return {
        "schema": "ticketkit.prune/1",
        "input": described(checkpoint),
        "prior": request.prior,
        "output": request.output and str(request.output),
        "ticket": str(request.ticket),
        **ticket_document(ticket),
        **({} if found.training is None else {"training": found.training}),
        "left_alone": [str(path) for path in sorted(kept)],
        "spared": [{"name": name, "reason": reason} for name, reason in found.spared.items()],
        "notes": notes,
    }


def _together(request: Request, chosen: Parts) -> contextlib.AbstractContextManager[World]:
    """The processes that draw together: those of torchrun, for a strategy that trains."""
    from ticketkit.distributed import World, session

    if not chosen.strategy.trains:
        return contextlib.nullcontext(World())
    from ticketkit.environment import device_of

    return session(device_of(request.device))


def _drawn(request: Request, chosen: Parts, checkpoint: Checkpoint, report: Report | None) -> Drawn:
    try:
        if not chosen.strategy.trains:
            ticket = _drawn_at_once(request, chosen, checkpoint)
            found = survey(checkpoint.tensors(), request.include, request.exclude, chosen.spares)
            return Drawn(ticket, found.spared)
        from ticketkit.drawrun import draw_in_run
        from ticketkit.jobs import Asked

        sparsity = chosen.sparsity(request.sparsity)
        return draw_in_run(
            checkpoint,
            request.experiment(),
            Asked(chosen, sparsity, request.seed, request.allow_empty_layers),
            include=request.include,
            exclude=request.exclude,
            new_head=request.new_head,
            check=partial(_check_own, request, checkpoint),
            report=report,
        )
    except WeightsError as error:
        raise WeightsError(f"{printable(str(request.input))}: {error}") from error


def _drawn_at_once(request: Request, chosen: Parts, checkpoint: Checkpoint) -> Ticket:
    from ticketkit.drawing import draw  # torch, after what can be told without it

    names = ("scheme", "sparsity", "criterion", "allocation", "strategy", "seed")
    others = ("include", "exclude", "allow_empty_layers")
    options = {name: getattr(request, name) for name in (*names, *others)}
    if (task := request.task_of_draw(chosen)) is None:
        return draw(checkpoint, **options)
    from ticketkit.sampled import draw_on_task

    return draw_on_task(
        checkpoint,
        task=task,
        arch=request.arch,
        root=request.data,
        download=request.download,
        **options,
    )


def _kept(request: Request) -> set[Path]:
    """The outputs that are there already, where a run may be at its end and they may be its own."""
    if request.force or not request.resume:
        return set()
    return {path for path in request.outputs if path.exists()}


def _check_own(request: Request, checkpoint: Checkpoint, finished: Ticket | None) -> None:
    """Refuse outputs that are there already, unless the ticket among them is the finished run's."""
    if finished is not None and request.with_values:
        finished = finished.with_values(checkpoint)
    kept = _kept(request)
    ours = finished is not None and (
        request.ticket not in kept
        or request.ticket.read_bytes() == finished.encoded(request.encoding)
    )
    if not ours:
        check_absent(kept, force=False)


def described(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is told of an input."""
    return {
        "path": str(checkpoint.path),
        "form": checkpoint.description,
        "tensors": len(checkpoint),
    }


def _zeros_before(checkpoint: Checkpoint, ticket: Ticket) -> list[str]:
    """A note on weights that were zero already."""
    sizes = {name: ticket.mask.packed(name).size for name in ticket.mask}
    zeros = {name: count_zeros(checkpoint.raw(name), size) for name, size in sizes.items()}
    whole = [name for name, count in zeros.items() if count == sizes[name]]
    if not (total := sum(zeros.values())):
        return []
    note = f"{total:,} of the prunable weights were zero already"
    return [note + (f"; all of {some(whole)}" if whole else "")]


def of_the_file(checkpoint: Checkpoint) -> list[str]:
    """What a reader should know of the file that the weights came from, a sentence each."""
    naming = checkpoint.naming
    notes = of_the_names(checkpoint)
    if naming.copies:
        notes.append(f"{naming.copies} tensors are in the file twice; both copies are masked alike")
    notes += of_normalisation(checkpoint)
    if checkpoint.others:
        others = some(checkpoint.others)
        notes.append(f"other weights in the file are left as they are: {others}")
    if elsewhere := checkpoint.elsewhere():
        notes.append(f"what else is in the folder was not copied: {some(elsewhere)}")
    return notes


def of_the_names(checkpoint: Checkpoint) -> list[str]:
    """A note on what was stripped from the names in the file."""
    prefix = checkpoint.naming.prefix
    return [f"{prefix!r} was stripped from every name; files keep it"] if prefix else []


def conversion(left: list[str]) -> list[str]:
    return [f"left behind in the conversion to safetensors: {some(left, 20)}"] if left else []
