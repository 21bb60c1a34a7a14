"""What a file is, told without torch where it is a safetensors file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ticketkit.archive import form_of
from ticketkit.checkpoint import open_checkpoint
from ticketkit.describe import file_document, notes_on, ticket_document
from ticketkit.tensorfile import TensorFile
from ticketkit.ticket import load_ticket
from ticketkit.ticketfile import is_ticket


def show(path: Path, *, verify: bool = True) -> dict[str, Any]:
    """A document about a ticket or a checkpoint."""
    if form_of(path) == "safetensors" and is_ticket(TensorFile(path)):
        ticket = load_ticket(path, verify)
        return {
            "schema": "ticketkit.show/1",
            "kind": "ticket",
            "path": str(path),
            **ticket_document(ticket),
            "file": file_document(ticket),
            "notes": notes_on(ticket),
        }
    checkpoint = open_checkpoint(path)
    return {
        "schema": "ticketkit.show/1",
        "kind": "checkpoint",
        "path": str(path),
        "form": checkpoint.description,
        "tensors": [
            {
                "name": name,
                "shape": list(shape),
                "dtype": checkpoint.dtypes[name],
                "elements": math.prod(shape),
            }
            for name, shape in checkpoint.shapes.items()
        ],
    }
