"""`ticketkit compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.options import json_, quiet
from ticketkit.errors import printable

_WIDEST = 12  # characters of a side's name at the head of a column


@click.command("compare", short_help="Which results are better: those of A or those of B?")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--figure",
    "figures",
    metavar="NAME",
    multiple=True,
    help="Compare this one, such as accuracy.per_class; may be given several times. [default: the "
    "first of each evaluator]",
)
@json_
@quiet
def command(a: Path, b: Path, figures: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Compare the results in A with those in B, such as robust tickets with natural ones.

    A and B are folders of runs of 'transfer' and 'evaluate', or files of their results. Networks
    are paired that agree in settings, sparsity and seeds. With runs of 'pretrain' among them, what
    the robust ones lose on the source task is looked at too.

    Exit status: 0 compared, whatever the verdict; 3 where results contradict one another, or no two
    of them belong together.
    """
    from ticketkit.comparing import compared

    document = compared(a, b, figures)
    if as_json:
        printing.json_document(document)
    elif not quiet:
        _print(document)


def _print(document: Mapping[str, Any]) -> None:
    for group in document["groups"]:
        _print_group(document, group)
        click.echo()
    printing.say_wrapped(f"Rule: {document['rule']['text']}.")
    printing.notes(document["notes"])


def _print_group(document: Mapping[str, Any], group: Mapping[str, Any]) -> None:
    _print_settings(group["settings"])
    for side, name in zip("ab", group["winners"], strict=True):
        prior = group[side]["prior"] or "not told"
        printing.say_wrapped(f"{_short(name)}: {document[side]['path']}, prior {prior}")
    printing.say_wrapped(f"n counts {group['counts']}; what shares one is averaged first")
    for figure in group["figures"]:
        click.echo()
        _print_figure(figure, group["winners"], document["rule"]["high"])


def _print_settings(settings: Mapping[str, Any]) -> None:
    """What the networks of a group share."""
    trained = [each for each in (settings["task"], settings["mode"], settings["arch"]) if each]
    if settings["robustifier"]:
        trained.append(f"trained with {settings['robustifier']}")
    printing.say_wrapped(f"{settings['command']}: {', '.join(trained)}")
    ticket = settings["ticket"] or {}
    drawn = [ticket[n] for n in ("strategy", "scheme", "criterion", "allocation") if n in ticket]
    printing.say_wrapped(f"tickets by {', '.join(drawn)}" if drawn else "dense")


def _print_figure(figure: Mapping[str, Any], winners: Sequence[str], high: float) -> None:
    share = figure["unit"] == "share"
    unit = ", %" if share else f", {figure['unit']}" if figure["unit"] else ""
    part, _, options = figure["evaluator"].partition(":")
    printing.say(f"{part}.{figure['name']}{unit}, {figure['better']} is better")
    if options:
        printing.say_wrapped(f"({options.replace(',', ', ')})")
    rows = [(f"{row['sparsity']:g}", *_cells(row, share)) for row in figure["sparsities"]]
    if figure["overall"]:
        rows.append(("overall", *_cells(figure["overall"], share)))
    heads = [_short(name) for name in winners]
    head = ("sparsity", *heads, "difference", "95 % interval", "n", "verdict")
    printing.table(head, rows, "rrrrrr ")
    if not figure["overall"]:
        some = any(row["sparsity"] >= high for row in figure["sparsities"])
        lack = "seed has every sparsity" if some else "sparsity"
        click.echo(f"no overall: no {lack} of {high:g} or more")


def _cells(row: Mapping[str, Any], share: bool) -> tuple[str, ...]:
    def shown(value: float, sign: str = "") -> str:
        if share:
            return f"{100 * value:{sign}.2f}"
        # Weights and bytes are counted in thousands and more.
        return f"{value:{sign},.0f}" if 1000 <= abs(value) < 1e15 else f"{value:{sign}.4g}"

    ends = [shown(end, "+") for end in (row["low"], row["high"]) if end is not None]
    means = shown(row["a"]), shown(row["b"]), shown(row["difference"], "+")
    return (*means, " to ".join(ends), str(row["n"]), _short(row["verdict"]))


def _short(name: str) -> str:
    return printable(name, _WIDEST)
