"""Weights from a ticket that carries them: for a checkpoint, or a file of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ticketkit.checkpoint import Checkpoint
from ticketkit.errors import MismatchError, printable
from ticketkit.surviving import Values
from ticketkit.tensorfile import head_of, in_order, itemsize
from ticketkit.ticket import Ticket

if TYPE_CHECKING:
    from ticketkit.files import Output


def values_on(ticket: Ticket, checkpoint: Checkpoint) -> dict[str, Values]:
    """The values of a ticket that can stand in the place of a checkpoint's own, by its names.

    Raises a `MismatchError` for a parameter of another dtype.
    """
    values = {name: found for name, found in _named(ticket).items() if name in checkpoint}
    wrong = [n for n, found in values.items() if found.dtype != checkpoint.dtypes[n]]
    if wrong:
        name = wrong[0]
        raise MismatchError(
            f"{printable(name)}: values of dtype {values[name].dtype} in the ticket, of "
            f"{checkpoint.dtypes[name]} in the checkpoint"
        )
    return values


def write_alone(ticket: Ticket, output: Output) -> None:
    """Write the masked parameters as a safetensors file: m ⊙ θ, under all of their names."""
    values = _named(ticket)
    mask = ticket.mask_for(values)
    names = in_order({name: each.dtype for name, each in values.items()})
    widths = {name: itemsize(values[name].dtype) for name in names}
    tensors = {
        n: (values[n].dtype, mask.packed(n).shape, widths[n] * mask.packed(n).size) for n in names
    }
    head = head_of(tensors, {"format": "pt"})
    with output.writing(len(head) + sum(size for _, _, size in tensors.values())) as file:
        file.write(head)
        for name in names:
            file.write(values[name].among_zeros(mask.packed(name).unpack()).data)


def _named(ticket: Ticket) -> dict[str, Values]:
    """The values by every name that their parameter has."""
    tied = {o: ticket.values[n] for n, others in ticket.aliases.items() for o in others}
    return {**ticket.values, **tied} if ticket.values else {}
