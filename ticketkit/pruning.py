"""From a checkpoint on disk to a pruned one and its ticket: the work behind the command line."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.describe import (
    notes_on,
    of_normalisation,
    ticket_document,
    without_normalisation,
)
from ticketkit.errors import UsageError, WeightsError, printable, some
from ticketkit.files import reserve
from ticketkit.masking import count_zeros
from ticketkit.outputs import check_absent, check_files, reserve_pruned
from ticketkit.prunable import survey
from ticketkit.ticket import Ticket
from ticketkit.ticketfile import check_encoding

if TYPE_CHECKING:
    from ticketkit.choices import Parts

SPEED = "zeros alone speed nothing up: a pruned file has the size and the speed of the dense one"


@dataclass(frozen=True)
class Request:
    """What `ticketkit prune` was asked for."""

    input: Path
    output: Path | None
    """Where the pruned checkpoint goes; None for none."""
    ticket: Path
    sparsity: float | None
    """None for a scheme that has one of its own."""
    scheme: str = "unstructured"
    criterion: str = "magnitude"
    allocation: str = "global"
    strategy: str = "omp"
    seed: int = 0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_empty_layers: bool = False
    checkpoint_key: str | None = None
    force: bool = False
    encoding: str = "packed"
    with_values: bool = False
    task: str | None = None
    """The task whose data the criterion looks at; None for one that looks at none."""
    arch: str | None = None
    """The network's spec, for a task; None for the one in the file's metadata."""
    data: Path | None = None
    """The folder of the task's data; None for the user's cache folder."""
    prior: Mapping[str, Any] | None = None
    """What is told of the prior that chose the input; None for one that was named."""

    def task_of_draw(self, chosen: Parts) -> str | None:
        """The task whose data the draw looks at: not one by which a prior alone has chosen."""
        return self.task if self.prior is None or chosen.looks_at_data else None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return (self.ticket,) if self.output is None else (self.output, self.ticket)


def prune(request: Request) -> dict[str, Any]:
    """Draw a ticket from a file, write what was asked for, and return what was done."""
    chosen = check_request(request)
    check_absent(request.outputs, force=request.force)
    with contextlib.ExitStack() as stack:
        # The checkpoint is placed last: the ticket can be drawn again from what was there before.
        place = request.output and stack.enter_context(
            reserve_pruned(request.input, request.output)
        )
        ticket_place = stack.enter_context(reserve(request.ticket))
        check_absent(request.outputs, force=request.force)  # a run may have ended just now
        checkpoint = open_checkpoint(request.input, request.checkpoint_key)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ticket = _drawn(request, chosen, checkpoint)
        found = survey(checkpoint.tensors(), request.include, request.exclude, chosen.spares)
        zeros = _zeros_before(checkpoint, ticket)
        left = checkpoint.write(place, ticket.mask_for(checkpoint)) if place else []
        if request.with_values:
            ticket = ticket.with_values(checkpoint)
        ticket.write(ticket_place, request.encoding)
    notes = [str(warning.message) for warning in caught] + zeros + notes_on(ticket)
    notes += of_the_file(checkpoint)
    if request.prior is not None:
        notes += without_normalisation(checkpoint)
    notes += [*conversion(left), SPEED]
    return {
        "schema": "ticketkit.prune/1",
        "input": described(checkpoint),
        "prior": request.prior,
        "output": request.output and str(request.output),
        "ticket": str(request.ticket),
        **ticket_document(ticket),
        "spared": [{"name": name, "reason": reason} for name, reason in found.spared.items()],
        "notes": notes,
    }


def check_request(request: Request) -> Parts:
    """The parts asked for; an error for what is wrong with a request before anything is read."""
    # The catalogue, which `apply` has no use for.
    from ticketkit.choices import Parts

    check_files(request.input, request.output, request.outputs)
    check_encoding(request.encoding)
    parts = (request.scheme, request.criterion, request.allocation, request.strategy)
    chosen = Parts.resolve(*parts)
    chosen.sparsity(request.sparsity)
    task = request.task_of_draw(chosen)
    chosen.check_task(task)
    given = (None if request.prior else request.arch, request.data)
    if task is None and given != (None, None):
        raise UsageError("--arch and --data are for --task, the data that a criterion looks at")
    return chosen


def _drawn(request: Request, chosen: Parts, checkpoint: Checkpoint) -> Ticket:
    from ticketkit.drawing import draw  # torch, after what can be told without it

    names = ("scheme", "sparsity", "criterion", "allocation", "strategy", "seed")
    others = ("include", "exclude", "allow_empty_layers")
    options = {name: getattr(request, name) for name in (*names, *others)}
    try:
        if (task := request.task_of_draw(chosen)) is None:
            return draw(checkpoint, **options)
        from ticketkit.sampled import draw_on_task

        arch, root = request.arch, request.data
        return draw_on_task(checkpoint, task=task, arch=arch, root=root, **options)
    except WeightsError as error:
        raise WeightsError(f"{printable(str(request.input))}: {error}") from error


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
