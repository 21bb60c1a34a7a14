"""`ticketkit show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.options import TensorFile, json_, no_verify


@click.command("show", short_help="What is this file? A ticket's layers, parts and provenance.")
@click.argument("file", type=TensorFile())
@no_verify
@json_
def command(file: Path, no_verify: bool, as_json: bool) -> None:
    """Print what FILE is: a ticket's parts, layers and provenance, or a checkpoint's tensors."""
    from ticketkit.showing import show

    document = show(file, verify=not no_verify)
    if as_json:
        printing.json_document(document)
    elif document["kind"] == "ticket":
        _print_ticket(document)
    else:
        _print_checkpoint(document)


def _print_ticket(document: dict[str, Any]) -> None:
    printing.say(f"{document['path']}: a ticket")
    click.echo()
    printing.layers(document["layers"])
    click.echo()
    printing.sparsity(document)
    click.echo()
    _print_file(document["file"], len(document["layers"]))
    click.echo()
    rows = list(document["parts"].items())
    provenance = document["provenance"]
    rows += [(key.replace("_", " "), _shown(value)) for key, value in provenance.items()]
    printing.table(("provenance", ""), rows)
    printing.notes(document["notes"])


def _print_file(file: dict[str, Any], layers: int) -> None:
    coded = f" ({file['coded_layers']} of {layers} layers)" if file["coded_layers"] else ""
    click.echo(f"encoding: {file['encoding']}{coded}")
    values = file["values"]
    carried = f"{', '.join(values['dtypes'])}, {values['bytes']:,} bytes" if values else "none"
    click.echo(f"surviving values: {carried}")


def _print_checkpoint(document: dict[str, Any]) -> None:
    printing.say(f"{document['path']}: a checkpoint, no ticket: {document['form']}")
    click.echo()
    rows = [
        (x["name"], "x".join(map(str, x["shape"])) or "scalar", x["dtype"], f"{x['elements']:,}")
        for x in document["tensors"]
    ]
    printing.table(("tensor", "shape", "dtype", "elements"), rows, "   r")
    total = sum(tensor["elements"] for tensor in document["tensors"])
    click.echo(f"\n{len(rows)} tensors, {total:,} elements")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not recorded" if value is None else str(value)
