"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from ticketkit.cli.options import TensorFile, fraction

CONTEXT = click.Context(click.Command("x"))
PARAMETER = click.Option(["--sparsity"])


@pytest.mark.parametrize(
    ("text", "value"), [("0.5", 0.5), ("0", 0), (".5", 0.5), ("1e-3", 0.001), ("50", 50)]
)
def test_a_number_is_taken_as_it_is(text: str, value: float) -> None:
    assert fraction(CONTEXT, PARAMETER, text) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("0,9", "did you mean 0.9?"),
        (",9", "did you mean .9?"),
        ("90%", "did you mean 0.9?"),
        ("12.5%", "did you mean 0.125?"),
        ("half", "found 'half'"),
        ("1/2", "found '1/2'"),
    ],
)
def test_what_is_no_number_is_refused_with_what_was_meant(text: str, hint: str) -> None:
    # fault row 17
    with pytest.raises(click.BadParameter) as caught:
        fraction(CONTEXT, PARAMETER, text)
    assert caught.value.message.endswith(hint)


def test_a_file_of_tensors_is_a_path_and_no_stream() -> None:
    assert TensorFile().convert("a/-", None, None) == Path("a/-")
    assert TensorFile().convert("./-", None, None) == Path("-")
    with pytest.raises(click.BadParameter, match="not as a stream"):
        TensorFile().convert("-", None, None)
