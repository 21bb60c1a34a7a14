"""`ticketkit import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.options import TensorFile, checkpoint_key, force, fraction, json_, quiet


@click.command("import", short_help="Read another tool's mask as a ticket.")
@click.argument("file", type=TensorFile())
@click.option("-o", "--output", type=TensorFile(), help="[default: STEM.ticket.safetensors]")
@click.option(
    "--sparsity",
    metavar="FRACTION",
    callback=fraction,
    help="To remove, for scores: 1 - prune_rate of hidden-networks.",
)
@checkpoint_key
@force
@json_
@quiet
def command(file: Path, output: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Read the mask in FILE, which another tool made, as a ticket.

    Read are pairs NAME_orig and NAME_mask of torch.nn.utils.prune, mask.pth of open_lth,
    checkpoints and masks of CV_LTH_Pre-training, and scores of hidden-networks and
    Robust-Scratch-Ticket. With --checkpoint-key that entry alone is read.
    """
    from ticketkit.foreign import import_mask
    from ticketkit.outputs import ticket_path

    document = import_mask(file, output or ticket_path(file), **options)
    if as_json:
        printing.json_document(document)
    elif not quiet:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    source = document["input"]
    printing.say(f"{source['path']}: {source['form']}, masks of form {document['form']}")
    click.echo()
    printing.layers(document["layers"])
    click.echo()
    printing.sparsity(document)
    click.echo()
    printing.say(f"wrote {document['ticket']}")
    printing.notes(document["notes"])
