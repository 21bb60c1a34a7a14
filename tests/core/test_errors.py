"""The errors, and how names in files are shown in them."""

from __future__ import annotations

import pytest

import ticketkit
from ticketkit import errors
from ticketkit.errors import near, printable, some


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("TicketkitError", 1),
        ("UsageError", 2),
        ("UnknownPart", 2),
        ("InputError", 3),
        ("CheckpointError", 3),
        ("TicketError", 3),
        ("MismatchError", 3),
        ("WeightsError", 3),
        ("EvaluationError", 1),
        ("PluginError", 1),
        ("OutputError", 1),
    ],
)
def test_each_error_has_its_exit_status_and_is_public(error: str, status: int) -> None:
    kind = getattr(ticketkit, error)
    assert issubclass(kind, ticketkit.TicketkitError)
    assert kind("x").exit_status == status


def test_an_unreachable_sparsity_tells_the_highest_that_is_reachable() -> None:
    error = errors.UnreachableSparsity("too much", 0.75)
    assert (error.exit_status, error.highest) == (2, 0.75)


@pytest.mark.parametrize("error", [ticketkit.UsageError, ticketkit.InputError])
def test_errors_of_values_are_value_errors(error: type[Exception]) -> None:
    assert issubclass(error, ValueError)


def test_near_names_are_asked_for_and_strange_ones_are_not() -> None:
    assert near("rwo", ["row", "kernel"]) == "; did you mean 'row'?"
    assert near("kernl", ["kernel", "kernels"]) == "; did you mean 'kernel' or 'kernels'?"
    assert near("xyz", ["row", "kernel"]) == ""
    assert near("row", []) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("größe 模 😀", "größe 模 😀"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202eright to left", "\\u202eright to left"),
        ("\udcff", "\\udcff"),
        ("", ""),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_name_is_cut() -> None:
    assert printable("x" * 600) == "x" * 511 + "…"
    assert printable("\n" * 100, 10) == "\\n" * 4 + "\\…"


def test_a_few_items_stand_for_many() -> None:
    assert some([]) == ""
    assert some("ab") == "a, b"
    assert some("abcdefg") == "a, b, c, d, e and 2 more"
    assert some(["a\n", "b"], 1) == "a\\n and 1 more"
