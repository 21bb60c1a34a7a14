"""`ticketkit pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.options import TensorFile
from ticketkit.cli.training import options, print_data, training


@click.command("pretrain", short_help="Train a network on a task, robustly or not.")
@click.option("--arch", required=True, help="resnet50, resnet10:width=16,stem=small, timm:NAME.")
@click.option("-o", "--output", type=TensorFile(), required=True, help="The checkpoint to write.")
@options
def command(output: Path, as_json: bool, quiet: bool, **given: Any) -> None:
    """Train a network on a task from random weights, and write it as a checkpoint.

    With --robustifier its inputs are perturbed in training, which gives it a robustness prior. The
    checkpoint's metadata tells architecture, task and normalisation, which later commands read.
    The run's folder lets a killed command go on: give the same command line with --resume.

    In several processes: torchrun --nproc-per-node 2 -m -- ticketkit pretrain ...
    """
    from ticketkit.distributed import leads
    from ticketkit.pretraining import Pretrain, pretrain

    silent = quiet or not leads()
    with training(silent) as report:
        document = pretrain(Pretrain(output=output, **given), report)
    printing.failures(silent)
    if document is None:
        return
    if as_json:
        printing.json_document(document)
    elif not quiet:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    made = document["pretraining"]
    printing.say(made["arch"])
    print_data(made, document["data"])
    click.echo()
    printing.results(document["results"])
    click.echo()
    printing.say(f"run {document['run']}")
    printing.say(f"wrote {document['output']}")
    printing.notes(document["notes"])
