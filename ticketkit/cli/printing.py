"""What commands print: one JSON document, or tables for people."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from ticketkit.errors import printable


def json_document(document: dict[str, Any]) -> None:
    """Print exactly one JSON document."""
    click.echo(json.dumps(document, indent=2))  # in ASCII, which every terminal can show


def say(text: str = "") -> None:
    """Print a line, with what names of files and tensors hold of control characters escaped."""
    click.echo(printable(text, 10_000))


def say_wrapped(text: str, indent: str = "") -> None:
    """Print words in lines of at most 80 characters, the later ones indented; no spec is broken."""
    wrapper = textwrap.TextWrapper(
        80, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    for line in wrapper.wrap(printable(text, 10_000)):
        click.echo(line)


def notes(messages: Sequence[str]) -> None:
    """Print remarks on standard error."""
    for message in messages:
        click.echo(f"note: {printable(message, 4000)}", err=True)


def prior(found: Mapping[str, Any] | None) -> None:
    """Print what a prior chose, and on standard error its remarks."""
    if found is not None:
        say(f"prior {found['spec']}")
        say(f"{found['path']}: {found['reason']}")
        notes(found["notes"])


def failures(quiet: bool = False) -> None:
    """One line on standard error for each plugin that failed to load."""
    if quiet:
        return
    from ticketkit.registry import catalogue

    for plugin in catalogue().failures:
        click.echo(
            f"warning: plugin {plugin} failed to load and is left out; "
            "see 'ticketkit plugins' for the reason",
            err=True,
        )


def table(head: Sequence[str], rows: Sequence[Sequence[object]], right: str = "") -> None:
    """Print columns, those whose letter in `right` is `r` aligned to the right."""
    texts = [list(head), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    for row in texts:
        cells = [
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, right.ljust(len(head)), strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def results(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Print a table of figures, a line each, and then the options of their evaluators."""
    short = _short(found)
    rows = [
        (f"{short[spec]}.{name}", _value(each), _interval(each), f"{each['n']:,}")
        for spec, figures in found.items()
        for name, each in figures.items()
    ]
    table(("measure", "value", "95 % interval", "n"), rows, " rrr")
    for spec in found:
        _, colon, options = spec.partition(":")
        if colon:
            say_wrapped(f"{short[spec]}: {options.replace(',', ', ')}")


def _short(specs: Iterable[str]) -> dict[str, str]:
    """What an evaluator is called in a table: its name, with a number where it is asked twice."""
    alike: dict[str, list[str]] = {}
    for spec in specs:
        alike.setdefault(spec.partition(":")[0], []).append(spec)
    return {
        spec: f"{part}#{number}" if len(group) > 1 else part
        for part, group in alike.items()
        for number, spec in enumerate(group, 1)
    }


def _value(estimate: Mapping[str, Any]) -> str:
    number = _number(estimate["value"], estimate["unit"])
    return number if estimate["unit"] in ("", "share") else f"{number} {estimate['unit']}"


def _interval(estimate: Mapping[str, Any]) -> str:
    if estimate["low"] is None or estimate["high"] is None:
        return ""
    return " to ".join(_number(estimate[end], estimate["unit"]) for end in ("low", "high"))


def _number(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.2f} %"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:,.4g}"


def matched(parameters: Mapping[str, int]) -> None:
    """Print how many of a ticket's parameters were found."""
    say(f"found {parameters['matched']:,} of the {parameters['masked']:,} masked parameters")


def layers(found: Sequence[dict[str, Any]]) -> None:
    """Print the layers of a ticket."""
    rows = [
        (
            layer["name"],
            "x".join(map(str, layer["shape"])),
            f"{layer['weights']:,}",
            f"{layer['kept']:,}",
            f"{layer['sparsity']:.4f}",
        )
        for layer in found
    ]
    table(("layer", "shape", "weights", "kept", "sparsity"), rows, "  rrr")


def sparsity(document: dict[str, Any]) -> None:
    """Print the sparsity asked for, and what was reached over the three denominators."""
    counts, reached = document["counts"], document["sparsity"]["reached"]
    asked = document["sparsity"].get("requested")
    meaning = {
        "prunable": "prunable weights",
        "weights": "all weights (2 or more dimensions)",
        "parameters": "all parameters",
    }
    rows = [
        (
            what,
            f"{asked:.6f}" if name == "prunable" and asked is not None else "",
            f"{reached[name]:.6f}",
            f"{counts['removed']:,} of {counts[name]:,}",
        )
        for name, what in meaning.items()
    ]
    table(("sparsity over", "requested", "reached", "removed"), rows, " rrr")


def spared(found: Sequence[dict[str, str]], counts: Mapping[str, int]) -> None:
    """Print what was spared, grouped by the reason."""
    small = counts["parameters"] - counts["weights"]
    if not found and not small:
        return
    reasons: dict[str, list[str]] = {}
    for entry in found:
        reasons.setdefault(entry["reason"], []).append(printable(entry["name"]))
    for reason, names in reasons.items():
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        click.echo(f"spared ({reason}): {', '.join(names[:6])}{more}")
    if small:
        click.echo(
            f"spared (fewer than two dimensions: biases, normalisation): {small:,} parameters"
        )
    click.echo()
