"""Does a pruned checkpoint still honour its ticket?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ticketkit.checkpoint import open_checkpoint
from ticketkit.masking import count_revived
from ticketkit.ticket import load_ticket


def verify(
    ticket_path: Path, pruned_path: Path | None = None, checkpoint_key: str | None = None
) -> dict[str, Any]:
    """Check a ticket's digests and counts, and that a pruned checkpoint's removed weights are zero.

    Raises an `InputError` for a ticket that was altered or does not fit. `revived` counts the
    removed weights that are not zero; -0.0 is zero.
    """
    ticket = load_ticket(ticket_path)
    document: dict[str, Any] = {
        "schema": "ticketkit.verify/1",
        "ticket": str(ticket_path),
        "counts": {"kept": ticket.mask.kept, "removed": ticket.removed},
        "checkpoint": None,
        "ok": True,
    }
    if pruned_path is None:
        return document
    checkpoint = open_checkpoint(pruned_path, checkpoint_key)
    mask = ticket.mask_for(checkpoint)
    mask.check_fits(checkpoint.shapes)
    revived = {
        name: count
        for name in mask
        if (count := count_revived(checkpoint.raw(name), mask.packed(name)))
    }
    document["checkpoint"] = {
        "path": str(pruned_path),
        "form": checkpoint.description,
        "revived": sum(revived.values()),
        "revived_layers": revived,
    }
    document["ok"] = not revived
    return document
