"""From a ticket to a pruned checkpoint: the work behind `ticketkit apply`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ticketkit.checkpoint import open_checkpoint
from ticketkit.describe import matched
from ticketkit.errors import UsageError, printable
from ticketkit.files import reserve
from ticketkit.outputs import check_absent, check_files, reserve_pruned, same_place
from ticketkit.pruning import SPEED, conversion, described, of_the_file
from ticketkit.restoring import values_on, write_alone
from ticketkit.ticket import Ticket, load_ticket

ALONE = (
    "it holds the masked parameters alone: biases, normalisation, the head and whatever else was "
    "not masked is not in it"
)


def apply(
    ticket_path: Path,
    input_path: Path | None,
    output_path: Path,
    *,
    checkpoint_key: str | None = None,
    verify: bool = True,
    allow_missing: Iterable[str] = (),
    force: bool = False,
) -> dict[str, Any]:
    """Write a checkpoint with a ticket's removed weights zero.

    Refuses weights that the ticket was not drawn from, unless `verify` is false, and a checkpoint
    that lacks a masked parameter, unless a glob of `allow_missing` names it. A ticket that carries
    its values puts them in the place of others, and without an input into a file of their own.
    """
    ticket = load_ticket(ticket_path, verify)
    if input_path is None:
        return _apply_alone(ticket_path, ticket, output_path, force=force)
    check_files(input_path, output_path, (output_path,))
    check_absent((output_path,), force=force)
    _check_ticket_stays(ticket_path, output_path)
    with reserve_pruned(input_path, output_path) as place:
        check_absent((output_path,), force=force)  # a run may have ended just now
        checkpoint = open_checkpoint(input_path, checkpoint_key)
        mask = ticket.mask_on(checkpoint.shapes, allow_missing)
        if checked := verify and ticket.provenance.source is not None:
            ticket.check_source(checkpoint.digest())
        left = checkpoint.write(place, mask, {} if checked else values_on(ticket, checkpoint))
    return {
        "schema": "ticketkit.apply/1",
        "input": described(checkpoint),
        "ticket": str(ticket_path),
        "output": str(output_path),
        "parameters": matched(ticket, mask),
        "sparsity": {"reached": ticket.reached()},
        "counts": {"kept": ticket.mask.kept, "removed": ticket.removed},
        "notes": [*_unchecked(ticket), *of_the_file(checkpoint), *conversion(left), SPEED],
    }


def _check_ticket_stays(ticket_path: Path, output_path: Path) -> None:
    if same_place(output_path, ticket_path):
        raise UsageError(f"the output would replace the ticket {printable(str(ticket_path))}")


def _unchecked(ticket: Ticket) -> list[str]:
    """A note where nothing tells whose weights a ticket is of."""
    if ticket.provenance.source is not None:
        return []
    return ["the ticket does not record its weights: whether these are they was not checked"]


def _apply_alone(
    ticket_path: Path, ticket: Ticket, output_path: Path, *, force: bool
) -> dict[str, Any]:
    if not ticket.values:
        raise UsageError(
            f"{printable(str(ticket_path))} carries no values (prune --with-values writes them): "
            "give the checkpoint that it is to be applied to"
        )
    if output_path.suffix != ".safetensors":
        raise UsageError(
            "the ticket's own values go to a safetensors file: give the output the suffix "
            f".safetensors, found {printable(output_path.name)!r}"
        )
    _check_ticket_stays(ticket_path, output_path)
    check_absent((output_path,), force=force)
    with reserve(output_path) as place:
        check_absent((output_path,), force=force)  # a run may have ended just now
        write_alone(ticket, place)
    return {
        "schema": "ticketkit.apply/1",
        "input": None,
        "ticket": str(ticket_path),
        "output": str(output_path),
        "parameters": matched(ticket, ticket.mask),
        "sparsity": {"reached": ticket.reached()},
        "counts": {"kept": ticket.mask.kept, "removed": ticket.removed},
        "notes": [ALONE, SPEED],
    }
