"""`ticketkit prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.options import (
    TensorFile,
    checkpoint_key,
    force,
    fraction,
    json_,
    prior,
    quiet,
)
from ticketkit.cli.training import training


@click.command("prune", short_help="Draw a ticket from a checkpoint and write the pruned one.")
@click.argument("file", type=TensorFile(), required=False)
@click.option(
    "--sparsity", metavar="FRACTION", callback=fraction, help="The fraction to remove, in [0, 1)."
)
@click.option(
    "--scheme",
    default="unstructured",
    show_default=True,
    help="Which weights live and die together.",
)
@click.option(
    "--criterion", default="magnitude", show_default=True, help="How much a weight matters."
)
@click.option(
    "--allocation", help="How layers share the budget. [default: the strategy's, global for omp]"
)
@click.option(
    "--strategy", default="omp", show_default=True, help="How the mask is found over time."
)
@click.option("-o", "--output", type=TensorFile(), help="[default: STEM.pruned.EXT]")
@click.option("--ticket", type=TensorFile(), help="[default: STEM.ticket.safetensors]")
@click.option("--no-checkpoint", is_flag=True, help="Write the ticket alone.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is random.")
@click.option("--include", multiple=True, metavar="GLOB", help="Prune these parameters too.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Spare these parameters.")
@click.option("--allow-empty-layers", is_flag=True, help="A layer may lose all of its weights.")
@click.option(
    "--encoding",
    metavar="packed|rice",
    default="packed",
    show_default=True,
    help="Of the ticket: a bit a weight or block, or near the entropy.",
)
@prior
@click.option(
    "--mode",
    metavar="linear|finetune",
    help="How the ticket will be transferred, for --prior. [default: linear]",
)
@click.option(
    "--task",
    help="The data, for a strategy that trains or a criterion that looks, and for --prior.",
)
@click.option(
    "--arch", help="The network, for --task and --prior. [default: what FILE's metadata tells]"
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Of --task. [default: the user's cache folder]"
)
@click.option("--download", is_flag=True, help="Fetch the data, where it is not there yet.")
@click.option("--robustifier", help="What perturbs the inputs, for a strategy that trains.")
@click.option(
    "--fit",
    metavar="PRESET[:key=value,...]",
    help="Its schedule: paper, salman or small, and what differs from it. [default: small]",
)
@click.option(
    "--run", type=click.Path(path_type=Path), help="[default: under runs/, named by content]"
)
@click.option("--resume", is_flag=True, help="Go on with the run where it stands.")
@click.option("--new-head", is_flag=True, help="Even if the head may be that of the task.")
@click.option("--device", default="auto", show_default=True, help="To train on.")
@click.option("--workers", type=int, default=0, show_default=True, help="To read data with.")
@click.option("--with-values", is_flag=True, help="Let the ticket carry the weights that it keeps.")
@checkpoint_key
@force
@click.option("--dry-run", is_flag=True, help="Print what would be done; write nothing.")
@json_
@quiet
def command(
    file: Path | None,
    prior: str | None,
    mode: str | None,
    output: Path | None,
    ticket: Path | None,
    no_checkpoint: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Draw a ticket from the checkpoint FILE, and write the pruned checkpoint and the ticket.

    The pruned file has the form, the names and the order of FILE. Parts are spec strings such as
    'row' or 'stripe:width=4'; 'ticketkit parts NAME' prints a part's options. In the place of FILE
    --prior finds a checkpoint, by --task, --arch and --mode.
    """
    if no_checkpoint and output is not None:
        raise click.UsageError("--no-checkpoint and --output exclude each other")
    from ticketkit.distributed import leads
    from ticketkit.outputs import pruned_path, ticket_path
    from ticketkit.pruning import prune
    from ticketkit.request import Request

    source = _source(file, prior, mode, options)
    request = Request(
        input=source.path,
        output=None if no_checkpoint else output or pruned_path(source.path),
        ticket=ticket or ticket_path(source.path),
        prior=source.prior,
        **options,
    )
    if dry_run:
        from ticketkit.planning import plan

        document = plan(request)
    else:
        silent = quiet or not leads()
        with training(silent) as report:
            document = prune(request, report)
        if not document:
            return
    printing.failures(quiet)
    if as_json:
        printing.json_document(document)
    elif not quiet:
        (_print_plan if dry_run else _print)(document)


def _source(file: Path | None, prior: str | None, mode: str | None, options: Any) -> Any:
    from ticketkit.priors import source_of

    if prior is None and mode is not None:
        raise click.UsageError("--mode is for --prior, which chooses by it")
    task, arch = options["task"], options["arch"]
    return source_of(file, prior, task=task, arch=arch, mode=mode or "linear")


def _print(document: dict[str, Any]) -> None:
    source = document["input"]
    printing.prior(document["prior"])
    printing.say(f"{source['path']}: {source['form']}, {source['tensors']} tensors")
    click.echo()
    printing.layers(document["layers"])
    click.echo()
    printing.spared(document["spared"], document["counts"])
    printing.sparsity(document)
    click.echo()
    if "training" in document:
        _print_training(document["training"])
    for what in ("output", "ticket"):
        if document[what] and document[what] not in document["left_alone"]:
            printing.say(f"wrote {document[what]}")
    printing.notes(document["notes"])


def _print_training(told: dict[str, Any]) -> None:
    """What was trained, and what each round came to."""
    printing.say(f"{told['arch']}, its head {told['head']}")
    printing.say(f"on {told['task']}{'' if told['robustifier'] else ', natural'}")
    if told["robustifier"]:
        printing.say(f"robustifier {told['robustifier']}")
    rows = [
        (each["number"], f"{each['sparsity']:.6f}", f"{each['kept']:,}", f"{each['weights']:,}")
        for each in told["rounds"]
    ]
    printing.table(("round", "sparsity", "kept", "of"), rows, "rrrr")
    printing.say(f"run {told['run']}")


def _print_plan(document: dict[str, Any]) -> None:
    source = document["input"]
    printing.prior(document["prior"])
    printing.say(f"{source['path']}: {source['form']}, {source['tensors']} tensors")
    click.echo()
    rows = [
        (x["name"], "x".join(map(str, x["shape"])), f"{x['weights']:,}", f"{x['blocks']:,}")
        for x in document["layers"]
    ]
    printing.table(("layer", "shape", "weights", "blocks"), rows, "  rr")
    click.echo()
    printing.spared(document["spared"], document["counts"])
    counts = document["counts"]
    click.echo(f"would keep at most {counts['kept_at_most']:,} of {counts['prunable']:,} weights")
    click.echo(", ".join(f"{kind} {spec}" for kind, spec in document["parts"].items()))
    sizes = document["bytes"]
    for what, key in (("output", "checkpoint"), ("ticket", "ticket")):
        if document[what]:
            printing.say(f"would write {document[what]}, about {sizes[key]:,} bytes")
    printing.notes(document["notes"])
    if (told := document["training"]) is not None:
        printing.say(f"would train {told['arch']} by {told['fit']}")
        printing.say(f"on {told['task']}{'' if told['robustifier'] else ', natural'}")
        if told["robustifier"]:
            printing.say(f"robustifier {told['robustifier']}")
    if sizes["peak_memory"] is not None:
        click.echo(f"would take about {sizes['peak_memory']:,} bytes of memory beyond Python's")
