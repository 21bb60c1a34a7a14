"""`ticketkit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ticketkit.cli import printing
from ticketkit.cli.bars import bars
from ticketkit.cli.options import TensorFile, checkpoint_key, no_verify
from ticketkit.cli.training import options_on_task, warned

if TYPE_CHECKING:
    from ticketkit.evaluating import Evaluated


@click.command("evaluate", short_help="Measure what a checkpoint is worth on a task.")
@click.argument("file", type=TensorFile())
@click.option("--task", default="", help="[default: what FILE was trained on]")
@click.option(
    "-e",
    "--evaluator",
    "evaluators",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="What to measure, once or more often. [default: the task's metric]",
)
@click.option("--ticket", type=TensorFile(), help="Measure this ticket of FILE.")
@click.option("--arch", help="[default: what FILE's metadata tells]")
@click.option(
    "--crop",
    type=int,
    metavar="PIXELS",
    help="Resize pictures and cut out their middle, a square of this side; 0 for whole pictures. "
    "[default: as FILE was trained; else 224 for photographs]",
)
@click.option("--batch", type=int, default=256, show_default=True, help="Pictures at a time.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write the JSON document there too, and a table beside it, in .csv.",
)
@options_on_task
@no_verify
@checkpoint_key
def command(file: Path, as_json: bool, quiet: bool, no_verify: bool, **given: Any) -> None:
    """Measure what the checkpoint FILE is worth on the test pictures of a task.

    'ticketkit parts' lists the evaluators. Those that need the network's outputs alone share one
    pass over the pictures. Each result is kept as soon as it is known: the same command line again,
    or --resume with a --run, goes on after it.
    """
    from ticketkit.evaluating import Evaluation, evaluated_in_run

    request = Evaluation(checkpoint=file, verify=not no_verify, **given)
    with bars(quiet), warned(quiet):
        found = evaluated_in_run(request)
    printing.failures(quiet)
    if as_json:
        printing.json_document(found.document)
    elif not quiet:
        _print(found, request.output)


def _print(found: Evaluated, output: Path | None) -> None:
    document = found.document
    printing.say(f"{document['checkpoint']['file']}, {document['arch']}")
    ticket = document["ticket"]
    if ticket:
        reached = ticket["sparsity"]["reached"]["prunable"]
        printing.say(f"ticket at sparsity {reached:.6f}")
    count, crop = document["data"]["test"]["count"], document["crop"]
    cut = f", their middle {crop} pixels" if crop else ""
    printing.say(f"on {document['task']}, {count:,} test pictures{cut}")
    click.echo()
    printing.results(document["results"])
    click.echo()
    before = ", which had measured this before" if found.before else ""
    printing.say(f"run {found.run}{before}")
    if output:
        printing.say(f"wrote {output} and {output.with_suffix('.csv')}")
    printing.notes(document["notes"])
