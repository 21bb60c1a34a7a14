"""`ticketkit overlap`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.options import TensorFile, json_, no_verify


@click.command("overlap", short_help="How much of what one ticket keeps does another keep?")
@click.argument("a", type=TensorFile())
@click.argument("b", type=TensorFile())
@no_verify
@json_
def command(a: Path, b: Path, no_verify: bool, as_json: bool) -> None:
    """Compare the tickets A and B: what each keeps, what both keep, and their overlap.

    The overlap is the intersection over the union of what is kept, 1 for equal masks.
    """
    from ticketkit.overlapping import overlap

    document = overlap(a, b, verify=not no_verify)
    if as_json:
        printing.json_document(document)
        return
    rows = [(x["name"], *_figures(x)) for x in document["layers"]]
    head = ("layer", "weights", "kept in A", "kept in B", "in both", "overlap")
    printing.table(head, [*rows, ("all layers", *_figures(document))], " rrrrr")


def _figures(found: dict[str, Any]) -> tuple[str, ...]:
    kept = found["kept"]
    counts = (found["weights"], kept["a"], kept["b"], kept["both"])
    return (*(f"{count:,}" for count in counts), f"{found['overlap']:.6f}")
