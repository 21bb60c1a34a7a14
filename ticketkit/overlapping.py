"""How much of what one ticket keeps another keeps too, told without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ticketkit.errors import MismatchError, printable
from ticketkit.prunable import natural
from ticketkit.ticket import load_ticket


def overlap(one: Path, other: Path, *, verify: bool = True) -> dict[str, Any]:
    """What two ticket files keep, layer by layer, and the intersection over union of it.

    Raises a `MismatchError` that names the differences where they cover different parameters.
    """
    first, second = (load_ticket(path, verify).mask for path in (one, other))
    try:
        both, overlaps = first.kept_by_both(second), first.layer_overlap(second)
    except MismatchError as error:
        names = " and ".join(printable(str(path)) for path in (one, other))
        raise MismatchError(f"{names}: {error}") from None
    layers = [
        {
            "name": name,
            "weights": first.packed(name).size,
            "kept": {
                "a": first.packed(name).kept,
                "b": second.packed(name).kept,
                "both": both[name],
            },
            "overlap": overlaps[name],
        }
        for name in sorted(first, key=natural)
    ]
    return {
        "schema": "ticketkit.overlap/1",
        "a": str(one),
        "b": str(other),
        "layers": layers,
        "weights": first.size,
        "kept": {"a": first.kept, "b": second.kept, "both": sum(both.values())},
        "overlap": first.overlap(second),
    }
