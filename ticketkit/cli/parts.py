"""`ticketkit parts`."""

from __future__ import annotations

from typing import Any

import click

from ticketkit.cli import printing
from ticketkit.cli.options import json_


@click.command("parts", short_help="The parts on offer; with a name, its options.")
@click.argument("name", required=False)
@json_
def command(name: str | None, as_json: bool) -> None:
    """List the parts that plugins offer, or print the options of the part NAME.

    NAME may be qualified, 'ticketkit/row', where two plugins offer one name.
    """
    from ticketkit.registry import catalogue

    found = catalogue()
    offers = found.named(name) if name else list(found.offers)
    described = [_described(offer) for offer in offers]
    printing.failures()
    if as_json:
        printing.json_document({"schema": "ticketkit.parts/1", "parts": described})
    elif name is None:
        rows = [(p["kind"], p["name"], p["distribution"], p["summary"]) for p in described]
        printing.table(("kind", "name", "distribution", "what it does"), rows)
    else:
        for part in described:
            _print(part)


def _described(offer: Any) -> dict[str, Any]:
    import inspect

    from ticketkit.options import options_of

    text = inspect.getdoc(offer.part) or ""
    options, error = [], ""
    try:
        options = [vars(option) for option in options_of(offer.part)]
    except Exception as failure:  # noqa: BLE001  one plugin's fields must not hide the others
        error = str(failure)
    return {
        "kind": offer.kind,
        "name": offer.name,
        "summary": text.partition("\n")[0],
        "description": text,
        "distribution": offer.plugin.distribution,
        "version": offer.plugin.version,
        "options": options,
        "error": error,
    }


def _print(part: dict[str, Any]) -> None:
    origin = f"{part['distribution']} {part['version']}"
    click.echo(f"{part['kind']} {part['name']} ({origin})")
    click.echo("".join(f"  {line}".rstrip() + "\n" for line in part["description"].splitlines()))
    if part["error"]:
        printing.say(f"  {part['error']}")
    elif not part["options"]:
        click.echo("  no options")
    else:
        _print_options(part)


def _print_options(part: dict[str, Any]) -> None:
    rows = [(f"  {o['name']}", o["type"], o["default"]) for o in part["options"]]
    printing.table(("  option", "type", "default"), rows)
    settings = ",".join(f"{o['name']}={_example(o)}" for o in part["options"])
    click.echo(f"  for example: --{part['kind']} {part['name']}:{settings}")


def _example(option: dict[str, str]) -> str:
    required = option["default"] == "required"
    return option["name"].upper() if required else option["default"]
