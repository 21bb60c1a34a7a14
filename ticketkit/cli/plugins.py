"""`ticketkit plugins`."""

from __future__ import annotations

import click

from ticketkit.cli import printing
from ticketkit.cli.options import json_


@click.command("plugins", short_help="The plugins installed, and why one failed.")
@click.option("-v", "--verbose", is_flag=True, help="The tracebacks of failures too.")
@json_
def command(verbose: bool, as_json: bool) -> None:
    """List the installed plugins: distribution, version, parts, and the reason of each failure.

    TICKETKIT_BLOCK=NAME,NAME keeps plugins out: a distribution, or distribution/plugin. Plugins
    run with your full rights: install those that you trust.
    """
    from ticketkit.registry import catalogue

    found = catalogue()
    rows = [
        {
            **vars(plugin),
            "parts": [f"{o.kind} {o.name}" for o in found.offers if o.plugin == plugin],
        }
        for plugin in found.plugins
    ]
    if as_json:
        printing.json_document({"schema": "ticketkit.plugins/1", "plugins": rows})
        return
    printing.table(
        ("plugin", "distribution", "version", "state", "parts"),
        [
            (p["name"], p["distribution"], p["version"], p["state"], ", ".join(p["parts"]))
            for p in rows
        ],
    )
    for plugin in found.plugins:
        if plugin.state != "loaded":
            click.echo(f"\n{plugin} {plugin.state}: {plugin.error}")
            if verbose and plugin.traceback:
                click.echo(plugin.traceback)
