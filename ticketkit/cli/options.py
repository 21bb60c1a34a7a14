"""Options that several commands share."""

from __future__ import annotations

import re

import click


def fraction(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """The number that was written; whether it lies in [0, 1) is for the library to say."""
    try:
        return float(value)
    except ValueError:
        near = value.replace(",", ".") if re.fullmatch(r"\d*,\d+", value) else None
        hint = f"; did you mean {near}?" if near else ""
        message = f"sparsity is the fraction removed, in [0, 1); found {value!r}{hint}"
        raise click.BadParameter(message, ctx, param) from None


checkpoint_key = click.option(
    "--checkpoint-key", metavar="KEY", help="Which entry of a wrapped file holds the weights."
)
force = click.option("--force", is_flag=True, help="Replace outputs that are already there.")
json_ = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
no_verify = click.option(
    "--no-verify", is_flag=True, help="Go on where digests differ from the recorded ones."
)
