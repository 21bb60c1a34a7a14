"""Weights from a ticket that carries them: into a checkpoint, or a file of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ticketkit.checkpoint import Checkpoint
from ticketkit.errors import MismatchError, printable
from ticketkit.surviving import Values, tensor_of
from ticketkit.tensorfile import head_of, itemsize
from ticketkit.ticket import Ticket

if TYPE_CHECKING:
    from ticketkit.files import Output


def put_values(ticket: Ticket, checkpoint: Checkpoint) -> None:
    """Let an open checkpoint hold the ticket's values where it held others; its file stays.

    Raises a `MismatchError`, having changed nothing, for a parameter of another dtype.
    """
    values = {name: found for name, found in _named(ticket).items() if name in checkpoint}
    wrong = [n for n, found in values.items() if found.dtype != checkpoint.dtypes[n]]
    if wrong:
        name = wrong[0]
        raise MismatchError(
            f"{printable(name)}: values of dtype {values[name].dtype} in the ticket, of "
            f"{checkpoint.dtypes[name]} in the checkpoint"
        )
    mask = ticket.mask_for(checkpoint)
    for name, found in values.items():
        packed = mask.packed(name)
        for key in checkpoint.naming.keys[name]:
            if checkpoint.form in ("zip", "legacy"):
                checkpoint.at(key).detach().copy_(tensor_of(found, packed))
            else:  # without torch; what is mapped is private
                raw = checkpoint.raw_at(key)
                raw[...] = found.among_zeros(packed.unpack()).view(raw.dtype).reshape(raw.shape)


def write_alone(ticket: Ticket, output: Output) -> None:
    """Write the masked parameters as a safetensors file: m ⊙ θ, under all of their names."""
    values = _named(ticket)
    mask = ticket.mask_for(values)
    # As the safetensors library lays them out: the wider first, so that all are aligned.
    names = sorted(values, key=lambda name: (-itemsize(values[name].dtype), name))
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
