"""`ticketkit apply`."""

from __future__ import annotations

from pathlib import Path

import click

from ticketkit.cli import printing
from ticketkit.cli.bars import bars
from ticketkit.cli.options import (
    TensorFile,
    allow_missing,
    checkpoint_key,
    force,
    json_,
    no_verify,
    quiet,
)


@click.command("apply", short_help="Write a checkpoint with a ticket's removed weights zero.")
@click.argument("ticket", type=TensorFile())
@click.argument("file", type=TensorFile(), required=False)
@click.option("-o", "--output", type=TensorFile(), help="[default: STEM.pruned.EXT]")
@no_verify
@allow_missing
@checkpoint_key
@force
@json_
@quiet
def command(
    ticket: Path,
    file: Path | None,
    output: Path | None,
    no_verify: bool,
    allow_missing: tuple[str, ...],
    checkpoint_key: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the checkpoint FILE with the weights that TICKET removes set to zero.

    FILE has to hold the weights that the ticket was drawn from, in whatever form of file. Without
    FILE, a ticket that carries its values writes the masked parameters alone.
    """
    if file is None and checkpoint_key is not None:
        raise click.UsageError("--checkpoint-key chooses an entry of FILE, which is not given")
    from ticketkit.applying import apply

    target = output or _default(ticket, file)
    with bars(quiet):
        document = apply(
            ticket,
            file,
            target,
            checkpoint_key=checkpoint_key,
            verify=not no_verify,
            allow_missing=allow_missing,
            force=force,
        )
    if as_json:
        printing.json_document(document)
    elif not quiet:
        counts = document["counts"]
        printing.say(
            f"{file}: {document['input']['form']}" if file else f"{ticket}: its own values"
        )
        printing.matched(document["parameters"])
        click.echo(f"kept {counts['kept']:,} weights, removed {counts['removed']:,}")
        printing.say(f"wrote {document['output']}")
        printing.notes(document["notes"])


def _default(ticket: Path, file: Path | None) -> Path:
    """Where the output goes unless it is told."""
    from ticketkit.outputs import pruned_path

    if file is None:
        stem = ticket.name.removesuffix(".safetensors").removesuffix(".ticket")
        return Path(f"{stem}.pruned.safetensors")
    return pruned_path(file)
