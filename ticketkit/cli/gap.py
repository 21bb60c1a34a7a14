"""`ticketkit gap`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.bars import bars
from ticketkit.cli.options import json_, quiet


@click.command("gap", short_help="How far is a task's data from the source's? FID and advice.")
@click.option("--task", required=True, help="The downstream data, a task of 'ticketkit parts'.")
@click.option("--source", default="imagenet", show_default=True, help="What was pretrained on.")
@click.option(
    "--extractor",
    metavar="inception|network[:key=value,...]",
    default="inception",
    show_default=True,
    help="The FID's inception:path=WEIGHTS, by default where torch-fidelity keeps it, or "
    "network:path=FILE with arch=ARCH, size=PIXELS.",
)
@click.option(
    "--count", type=int, default=8000, show_default=True, help="Of the source's pictures."
)
@click.option("--data", type=click.Path(path_type=Path), help="[default: the user's cache folder]")
@click.option("--download", is_flag=True, help="Fetch the data, where it is not there yet.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
@json_
@quiet
def command(as_json: bool, quiet: bool, **given: Any) -> None:
    """Measure the domain gap between a source and a downstream task, and what it speaks for.

    That is Frechet's distance between features of the same --count training pictures of the source
    and of all pictures of the task: the FID, with the FID's own Inception. The larger it is, the
    more speaks for robust tickets. Features of other networks have a scale of their own.
    """
    from ticketkit.domaingap import Gap, gap

    with bars(quiet):
        document = gap(Gap(**given))
    printing.failures(quiet)
    if as_json:
        printing.json_document(document)
    elif not quiet:
        show(document)


def show(document: dict[str, Any]) -> None:
    """Print a document for people to read."""
    source, task, used = (document[name] for name in ("source", "task", "extractor"))
    name = "FID" if used["spec"].startswith("inception") else "Frechet distance"
    printing.say(f"{name} {_figure(document['distance'])} from {source['name']} to {task['name']}")
    click.echo()
    rows = [
        ("source", source["spec"]),
        ("", f"{source['n']:,} training pictures, drawn by seed {source['seed']}"),
        ("task", task["spec"]),
        ("", f"all {task['n']:,} pictures: " + _counts(task["used"])),
        ("features", f"{used['features']:,}: {used['about']}"),
        ("weights", used["path"]),
        ("SHA-256", used["sha256"]),
        ("resize", used["resize"]),
    ]
    for name, told in rows:
        printing.say(f"{name:8}  {told}")
    click.echo()
    _print_table(document)
    click.echo()
    _print_advice(document["advice"])
    printing.notes(document["notes"])


def _print_table(document: dict[str, Any]) -> None:
    """The paper's tasks by falling FID, and this one's place among them."""
    advice = document["advice"]
    table = advice["table"]
    printing.say(f"{table['source']} of {table['paper']}")
    rows = [("", p["task"], p["fid"], p["winner"]) for p in table["points"]]
    mark = "this gap" if advice["comparable"] else "this gap: not comparable"
    rows.append((">", document["task"]["name"], document["distance"], mark))
    rows.sort(key=lambda row: -row[2])
    shown = [(sign, task, _figure(fid), winner) for sign, task, fid, winner in rows]
    printing.table(("", "task", "FID", "winner"), shown, "  r ")


def _print_advice(advice: dict[str, Any]) -> None:
    words = {
        "robust": "This speaks for robust tickets",
        "either": "This speaks for neither ticket",
        "unknown": "This speaks for nothing",
    }
    if advice["comparable"]:
        (reason,) = advice["reasons"]
        printing.say_wrapped(f"{words[advice['suggests']]}: {reason}.")
    else:
        printing.say_wrapped(
            "This number speaks for nothing, as it may not be compared with the table's:"
        )
        for reason in advice["reasons"]:
            printing.say_wrapped(f"- {reason}.", "  ")
    click.echo()
    printing.say_wrapped("How far to trust the table:")
    for caveat in advice["caveats"]:
        printing.say_wrapped(f"- {caveat}", "  ")


def _counts(used: dict[str, int]) -> str:
    return " and ".join(f"{count:,} of {name}" for name, count in used.items())


def _figure(distance: float) -> str:
    return f"{distance:.2f}" if distance >= 1 else f"{distance:.3g}"
