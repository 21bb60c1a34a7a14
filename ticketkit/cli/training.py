"""What the commands that train share: their options, their signals, what they print."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.bars import bars
from ticketkit.cli.options import force, json_, quiet
from ticketkit.cli.stops import TRAINING, heeding
from ticketkit.errors import printable

_ON_TASK = [
    click.option("--seed", type=int, default=0, show_default=True, help="Of all that is random."),
    click.option(
        "--run", type=click.Path(path_type=Path), help="[default: under runs/, named by content]"
    ),
    click.option("--resume", is_flag=True, help="Go on with the run where it stands."),
    click.option(
        "--data", type=click.Path(path_type=Path), help="[default: the user's cache folder]"
    ),
    click.option("--download", is_flag=True, help="Fetch the data, where it is not there yet."),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ..."),
    force,
    json_,
    quiet,
]
_TRAINING = [
    click.option("--task", required=True, help="The data, a task of 'ticketkit parts'."),
    click.option("--robustifier", help="What perturbs the inputs in training."),
    click.option(
        "--fit",
        metavar="PRESET[:key=value,...]",
        default="small",
        show_default=True,
        help="The schedule: paper, salman or small, and what differs from it.",
    ),
    click.option(
        "--attack",
        metavar="key=value,...",
        help="What the trained network is measured under. [default: norm=l2,eps=0.25,steps=10 with "
        "small, norm=linf,eps=8/255,steps=10 with others]",
    ),
    click.option("--workers", type=int, default=0, show_default=True, help="To read data with."),
]


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all commands that train have."""
    return _with(_TRAINING, options_on_task(command))


def options_on_task(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all commands have that work on a task, in a run."""
    return _with(_ON_TASK, command)


def _with(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


@contextlib.contextmanager
def training(quiet: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A block that trains: its signals are heeded, its progress shown, by the leading process.

    Yields what is to be called with each event.
    """
    with heeding(TRAINING), bars(quiet), warned(quiet):
        yield (lambda event: None) if quiet else _report


@contextlib.contextmanager
def warned(quiet: bool) -> Iterator[None]:
    """A block whose warnings are lines for people."""
    with warnings.catch_warnings():
        warnings.showwarning = _warner(quiet)
        yield


def _warner(quiet: bool) -> Callable[..., None]:
    """What shows Python's warnings: each in a line, once, and without a place in our code."""
    told: set[str] = set()

    def warn(message: Warning, *place: object) -> None:
        if not quiet and str(message) not in told:
            click.echo(f"warning: {printable(str(message), 4000)}", err=True)
        told.add(str(message))

    return warn


def _report(event: Mapping[str, Any]) -> None:
    """An epoch in a line on standard error."""
    if event["event"] == "epoch":
        loss = "" if event["loss"] is None else f"  loss {event['loss']:.4f}"
        place = f"round {event['round']}, " if "round" in event else ""
        done = f"{place}epoch {event['epoch']}/{event['epochs']}"
        click.echo(f"{done}{loss}  learning rate {event['rate']:.4g}", err=True)
    elif event["event"] == "round":
        removed = event["of"] - event["kept"]
        click.echo(
            f"round {event['number']}: {removed:,} of {event['of']:,} weights are removed", err=True
        )
    elif event["event"] == "fit" and event["step"]:
        click.echo(f"resumed after step {event['step']:,} of {event['steps']:,}", err=True)


def print_data(made: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """What was trained on: the task, the prior, how many pictures there are."""
    train, test = data["train"]["count"], data["test"]["count"]
    printing.say(f"on {made['task']}{'' if made['robustifier'] else ', natural'}")
    if made["robustifier"]:
        printing.say(f"robustifier {made['robustifier']}")
    click.echo(f"{train:,} training and {test:,} test pictures")
