"""`ticketkit verify`."""

from __future__ import annotations

from pathlib import Path

import click

from ticketkit.cli import FAILED, printing
from ticketkit.cli.options import TensorFile, allow_missing, checkpoint_key, json_, quiet


@click.command("verify", short_help="Check a ticket's digests, and a pruned file's zeros.")
@click.argument("ticket", type=TensorFile())
@click.argument("pruned", type=TensorFile(), required=False)
@checkpoint_key
@allow_missing
@json_
@quiet
def command(
    ticket: Path,
    pruned: Path | None,
    checkpoint_key: str | None,
    allow_missing: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Check TICKET's digests and counts and, if PRUNED is given, that its zeros are still zero.

    Exit status 1 where removed weights have come back.
    """
    from ticketkit.verification import verify

    document = verify(ticket, pruned, checkpoint_key, allow_missing)
    found = document["checkpoint"]
    if as_json:
        printing.json_document(document)
    elif not quiet:
        counts = document["counts"]
        values = " and carries their values" if document["values"] else ""
        printing.say(
            f"{ticket}: digests and counts agree; keeps {counts['kept']:,} weights{values}"
        )
        if found:
            printing.matched(found["parameters"])
            printing.say(
                f"{pruned}: {found['revived']:,} of {counts['removed']:,} removed weights "
                "are not zero"
            )
            if found["changed"] is not None:
                printing.say(
                    f"{pruned}: {found['changed']:,} of {counts['kept']:,} kept weights differ "
                    "from the ticket's values"
                )
            rows = [(name, f"{count:,}") for name, count in found["revived_layers"].items()]
            if rows:
                printing.table(("layer", "revived"), rows, " r")
    return 0 if document["ok"] else FAILED
