"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click


class TensorFile(click.Path):
    """The path of a file of tensors, which cannot be a stream."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse `-`, by which other tools mean standard input or output."""
        if str(value) == "-":
            self.fail("a file of tensors is read and written in place, not as a stream", param, ctx)
        if not str(value):
            self.fail("a path is expected, found ''", param, ctx)
        return super().convert(value, param, ctx)


def fraction(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """The number that was written; whether it lies in [0, 1) is for the library to say."""
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        hint = f"; did you mean {near}?" if (near := _nearest(value)) else ""
        message = f"sparsity is the fraction removed, in [0, 1); found {value!r}{hint}"
        raise click.BadParameter(message, ctx, param) from None


def _nearest(value: str) -> str | None:
    """The fraction that `0,9` or `90%` stands for."""
    if re.fullmatch(r"\d*,\d+", value):
        return value.replace(",", ".")
    if re.fullmatch(r"\d+(\.\d+)?%", value):
        return f"{float(value[:-1]) / 100:g}"
    return None


checkpoint_key = click.option(
    "--checkpoint-key", metavar="KEY", help="Which entry of a wrapped file holds the weights."
)
force = click.option("--force", is_flag=True, help="Replace outputs that are already there.")
json_ = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
allow_missing = click.option(
    "--allow-missing", multiple=True, metavar="GLOB", help="Masked parameters that may be missing."
)
no_verify = click.option(
    "--no-verify", is_flag=True, help="Go on where digests differ from the recorded ones."
)
prior = click.option(
    "--prior", metavar="NAME:key=value,...", help="Let this part choose FILE, for the task."
)
