"""Does a pruned checkpoint still honour its ticket?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ticketkit.bits import BlockBits, PackedBits
from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.describe import matched, values_document
from ticketkit.masking import count_revived
from ticketkit.surviving import Values
from ticketkit.ticket import Ticket, load_ticket


def verify(
    ticket_path: Path,
    pruned_path: Path | None = None,
    checkpoint_key: str | None = None,
    allow_missing: Iterable[str] = (),
) -> dict[str, Any]:
    """Check a ticket's digests and counts, and that a pruned checkpoint's removed weights are zero.

    Raises an `InputError` for a ticket that was altered or does not fit; masked parameters that a
    glob of `allow_missing` matches may be missing. `revived` counts the
    removed weights that are not zero; -0.0 is zero. `changed` counts the survivors that are not,
    bit by bit, the values that the ticket carries, as after a finetuning; None where it has none.
    """
    ticket = load_ticket(ticket_path)
    document: dict[str, Any] = {
        "schema": "ticketkit.verify/1",
        "ticket": str(ticket_path),
        "counts": {"kept": ticket.mask.kept, "removed": ticket.removed},
        "values": values_document(ticket),
        "checkpoint": None,
        "ok": True,
    }
    if pruned_path is None:
        return document
    checkpoint = open_checkpoint(pruned_path, checkpoint_key)
    mask = ticket.mask_on(checkpoint.shapes, allow_missing)
    revived = {
        name: count
        for name in mask
        if (count := count_revived(checkpoint.raw(name), mask.packed(name)))
    }
    document["checkpoint"] = {
        "path": str(pruned_path),
        "form": checkpoint.description,
        "parameters": matched(ticket, mask),
        "revived": sum(revived.values()),
        "revived_layers": revived,
        "changed": _changed(ticket, checkpoint),
    }
    document["ok"] = not revived
    return document


def _changed(ticket: Ticket, checkpoint: Checkpoint) -> int | None:
    if not ticket.values:
        return None
    return sum(
        _differing(values, checkpoint.dtypes[name], checkpoint.raw(name), ticket.mask.packed(name))
        for name, values in ticket.values.items()
        if name in checkpoint
    )


def _differing(
    values: Values, dtype: str, raw: np.ndarray[Any, Any], packed: PackedBits | BlockBits
) -> int:
    if dtype != values.dtype:
        return values.count
    found = Values.of(dtype, raw, packed.unpack())
    return int((found.planes != values.planes).any(axis=0).sum())
