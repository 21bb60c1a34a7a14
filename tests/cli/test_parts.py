"""`ticketkit parts`."""

from __future__ import annotations

import json
from pathlib import Path

import ticketkit
from tests.cli.conftest import Cli
from tests.plugin_factory import install
from tests.samples import run

OPTIONS = '''
from dataclasses import dataclass
import ticketkit

@dataclass(frozen=True)
class Stripe(ticketkit.BlockScheme):
    """Runs of channels.

    More of it.
    """
    name = "stripe"
    width: int = 2
    share: float = 0.5
    def block(self, shape):
        return (self.width, *shape[1:])

@dataclass(frozen=True)
class Odd(ticketkit.BlockScheme):
    """Has fields that nobody can read."""
    name = "odd"
    width: "NoSuchType" = 2
    def block(self, shape):
        return shape

@ticketkit.hookimpl
def ticketkit_schemes():
    yield Stripe
    yield Odd
'''


def test_every_part_is_listed_with_its_kind_and_what_it_does(cli: Cli) -> None:
    result = cli("parts")
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[0].split() == ["kind", "name", "distribution", "what", "it", "does"]
    rows = [line.split(maxsplit=3) for line in lines]
    assert ["scheme", "unstructured", "ticketkit", "Single weights."] in rows
    assert len(lines) == 1 + len(ticketkit.catalogue().offers)


def test_a_part_shows_its_documentation(cli: Cli) -> None:
    result = cli("parts", "row")
    assert result.out.startswith("scheme row (ticketkit ")
    assert "\n  Rows of one two-dimensional kernel, kw weights each.\n" in result.out
    assert result.out.endswith("\n  no options\n")
    assert cli("parts", "ticketkit/row").out == result.out


def test_json_is_one_document(cli: Cli) -> None:
    document = cli("parts", "--json").document
    assert document["schema"] == "ticketkit.parts/1"
    found = [(part["kind"], part["name"]) for part in document["parts"]]
    assert found == [(offer.kind, offer.name) for offer in ticketkit.catalogue().offers]
    (row,) = cli("parts", "row", "--json").document["parts"]
    assert row["name"] == "row"
    assert row["options"] == []


def test_an_option_that_is_required_is_to_be_filled_in(cli: Cli) -> None:
    assert cli("parts", "folder").out.endswith("\n  for example: --task folder:path=PATH\n")
    ending = "\n  for example: --prior salman:path=PATH,norm=l2,eps=none\n"
    assert cli("parts", "salman").out.endswith(ending)
    (part,) = cli("parts", "folder", "--json").document["parts"]
    assert part["options"] == [{"name": "path", "type": "text", "default": "required"}]


def test_an_unknown_part_lists_the_near_ones(cli: Cli) -> None:
    result = cli("parts", "kernl")
    assert (result.status, result.out) == (2, "")
    names = ", ".join(sorted({offer.name for offer in ticketkit.catalogue().offers}))
    assert result.err == (
        f"error: no part is named 'kernl'; choose from {names}; did you mean 'kernel' or 'erk'?\n"
    )


def test_the_options_of_a_part_are_shown_with_an_example_and_odd_ones_hide_no_other(
    tmp_path: Path,
) -> None:
    # fault row 49
    install(tmp_path, "plug-stripe", "plug_stripe", OPTIONS)
    environment = {"PYTHONPATH": str(tmp_path)}
    done = run("parts", "stripe", cwd=tmp_path, env=environment)
    assert done.stdout == (
        "scheme stripe (plug-stripe 1.0)\n"
        "  Runs of channels.\n"
        "\n"
        "  More of it.\n"
        "\n"
        "  option  type            default\n"
        "  width   a whole number  2\n"
        "  share   a number        0.5\n"
        "  for example: --scheme stripe:width=2,share=0.5\n"
    )
    done = run("parts", cwd=tmp_path, env=environment)
    assert done.returncode == 0
    rows = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert ["scheme", "odd", "plug-stripe", "Has fields that nobody can read."] in rows
    done = run("parts", "odd", cwd=tmp_path, env=environment)
    assert "name 'NoSuchType' is not defined" in done.stdout
    document = json.loads(run("parts", "odd", "--json", cwd=tmp_path, env=environment).stdout)
    assert "NoSuchType" in document["parts"][0]["error"]
