"""`ticketkit apply`."""

from __future__ import annotations

from pathlib import Path

import click

from ticketkit.cli import printing
from ticketkit.cli.bars import bars
from ticketkit.cli.options import TensorFile, checkpoint_key, force, json_, no_verify, quiet


@click.command("apply", short_help="Write a checkpoint with a ticket's removed weights zero.")
@click.argument("ticket", type=TensorFile())
@click.argument("file", type=TensorFile())
@click.option("-o", "--output", type=TensorFile(), help="[default: STEM.pruned.EXT]")
@no_verify
@checkpoint_key
@force
@json_
@quiet
def command(
    ticket: Path,
    file: Path,
    output: Path | None,
    no_verify: bool,
    checkpoint_key: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the checkpoint FILE with the weights that TICKET removes set to zero.

    FILE has to hold the weights that the ticket was drawn from, in whatever form of file.
    """
    from ticketkit.outputs import pruned_path
    from ticketkit.pruning import apply

    target = output or pruned_path(file)
    with bars(quiet):
        document = apply(
            ticket,
            file,
            target,
            checkpoint_key=checkpoint_key,
            verify=not no_verify,
            force=force,
        )
    if as_json:
        printing.json_document(document)
    elif not quiet:
        counts = document["counts"]
        printing.say(f"{file}: {document['input']['form']}")
        click.echo(f"kept {counts['kept']:,} weights, removed {counts['removed']:,}")
        printing.say(f"wrote {document['output']}")
        printing.notes(document["notes"])
