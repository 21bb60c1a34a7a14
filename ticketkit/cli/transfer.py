"""`ticketkit transfer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.options import TensorFile, checkpoint_key, no_verify, prior
from ticketkit.cli.training import options, print_data, training


@click.command("transfer", short_help="Train a ticket on a downstream task, its zeros kept.")
@click.argument("ticket", type=TensorFile())
@click.argument("file", type=TensorFile(), required=False)
@click.option(
    "--mode",
    metavar="linear|finetune",
    default="linear",
    show_default=True,
    help="Train a new head on frozen features, or all that was kept.",
)
@click.option("--arch", help="[default: what FILE's metadata tells]")
@prior
@click.option("-o", "--output", type=TensorFile(), help="Write the trained weights there too.")
@options
@no_verify
@checkpoint_key
def command(
    ticket: Path,
    file: Path | None,
    prior: str | None,
    output: Path | None,
    no_verify: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Train the TICKET of the checkpoint FILE on a task, and measure what it is worth there.

    The head is replaced by a new one for the task's classes, and the removed weights stay zero. For
    a segmentation task the ticket of a classifier becomes that of a segmenter's backbone. In the
    place of FILE --prior finds a checkpoint, by --task, --arch and --mode.
    """
    from ticketkit.distributed import leads
    from ticketkit.priors import source_of
    from ticketkit.transferring import Transfer, transferred

    silent = quiet or not leads()
    asked = {name: given[name] for name in ("task", "arch", "mode")}
    source = source_of(file, prior, **asked)
    request = Transfer(
        ticket=ticket,
        checkpoint=source.path,
        prior=source.prior,
        output=output,
        verify=not no_verify,
        **given,
    )
    with training(silent) as report:
        document = transferred(request, report)
    printing.failures(silent)
    if document is None:
        return
    if as_json:
        printing.json_document(document)
    elif not quiet:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    made, ticket = document["transfer"], document["ticket"]
    printing.prior(document["prior"])
    reached = ticket["sparsity"]["reached"]["prunable"]
    printing.say(f"{made['arch']} at sparsity {reached:.6f}, {document['mode']}")
    print_data(made, document["data"])
    click.echo()
    printing.results(document["results"])
    click.echo()
    removed, revived = document["removed"], document["revived"]
    click.echo(f"{removed:,} weights are removed, {revived:,} of them not zero")
    printing.say(f"run {document['run']}")
    if document["output"]:
        printing.say(f"wrote {document['output']}")
    printing.notes(document["notes"])
