"""What commands print."""

from __future__ import annotations

import json

import pytest

from ticketkit.cli import printing

Capture = pytest.CaptureFixture[str]

COUNTS = {"parameters": 9, "weights": 9}


def test_a_table_aligns_its_columns_and_leaves_no_trailing_blanks(capsys: Capture) -> None:
    printing.table(("name", "count", ""), [("a", 1, ""), ("longer", 1000, "x")], " r")
    assert capsys.readouterr().out == "name    count\na           1\nlonger   1000  x\n"


def test_a_table_of_nothing_is_its_head(capsys: Capture) -> None:
    printing.table(("name", "count"), [])
    assert capsys.readouterr().out == "name  count\n"


def test_control_characters_are_escaped_everywhere(capsys: Capture) -> None:
    odd = "\x1b[31m\n"
    printing.say(odd)
    printing.table(("name",), [(odd,)])
    printing.spared([{"name": odd, "reason": "x"}], COUNTS)
    printing.notes([odd])
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert printed.out.count("\\x1b[31m\\n") == 3
    assert printed.err == "note: \\x1b[31m\\n\n"


def test_a_document_is_ascii_json_that_says_what_it_holds(capsys: Capture) -> None:
    document = {"schema": "x/1", "name": "größe 模 😀 \x1b", "none": None, "list": [1, 2.5]}
    printing.json_document(document)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == document


def test_spared_tensors_are_grouped_by_the_reason(capsys: Capture) -> None:
    many = [{"name": f"a{i}", "reason": "small"} for i in range(8)]
    printing.spared([*many, {"name": "b", "reason": "odd"}], COUNTS)
    assert capsys.readouterr().out == (
        "spared (small): a0, a1, a2, a3, a4, a5 and 2 more\nspared (odd): b\n\n"
    )
    printing.spared([], COUNTS)
    assert capsys.readouterr().out == ""
