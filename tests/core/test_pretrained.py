"""What a pretrained checkpoint says of itself."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ticketkit
from tests import samples
from ticketkit import Pretraining
from ticketkit.pretrained import PRETRAINING, Lineage, checked_normalisation

TOLD = Pretraining(
    arch="resnet10:width=16,stem=small",
    classes=62,
    channels=1,
    task="glyphs",
    fit="small:epochs=8",
    seed=3,
    robustifier="pgd:eps=0.5",
    normalisation={"mean": (0.1,), "std": (0.3,)},
    versions={"ticketkit": "0.1.0", "torch": "2.14.1"},
)
TICKET = {"sha256": "t", "sparsity": {"requested": 0.9, "reached": {"prunable": 0.9}}}
TRANSFERRED = replace(TOLD, task="digits", lineage=Lineage("linear", TICKET, TOLD))
NUMBERS = st.floats(-9, 9)


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(TOLD.text()), **fields})


def descended(**fields: Any) -> str:
    """Of a transferred network, these fields of its lineage changed."""
    lineage = json.loads(TRANSFERRED.text())["lineage"]
    return changed(lineage={**lineage, **fields})


def test_it_is_read_as_it_was_written() -> None:
    assert Pretraining.of_text("x", TOLD.text()) == TOLD
    natural = Pretraining("vgg16", 10, 3, "digits", "paper", 0)
    assert Pretraining.of_text("x", natural.text()) == natural
    again = replace(TOLD, lineage=Lineage("finetune", TICKET, TRANSFERRED))
    unknown = replace(TOLD, lineage=Lineage("finetune", TICKET, None))
    for told in (TRANSFERRED, again, unknown):
        assert Pretraining.of_text("x", told.text()) == told


@given(
    st.builds(
        Pretraining,
        arch=st.text(),
        classes=st.integers(1),
        channels=st.integers(1),
        task=st.text(),
        fit=st.text(),
        seed=st.integers(),
        robustifier=st.none() | st.text(),
        normalisation=st.lists(st.tuples(NUMBERS, st.floats(0.01, 9)), max_size=4).map(
            lambda pairs: (
                {"mean": tuple(m for m, _ in pairs), "std": tuple(s for _, s in pairs)}
                if pairs
                else {}
            )
        ),
        versions=st.dictionaries(st.text(), st.text(), max_size=3),
    )
)
def test_whatever_it_is_it_is_read_as_it_was_written(told: Pretraining) -> None:
    text = told.text()
    assert Pretraining.of_text("x", text) == told
    assert Pretraining.of_text("x", text).text() == text


def test_its_text_is_sorted_json_of_plain_values() -> None:
    record = json.loads(TOLD.text())
    assert list(record) == sorted(record)
    assert record["normalisation"] == {"mean": [0.1], "std": [0.3]}
    assert record["format"] == 1


def test_fields_of_newer_versions_are_passed_over() -> None:
    assert Pretraining.of_text("x", changed(colour="red")) == TOLD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(format=2), "newer ticketkit"),
        (changed(classes=0), "whole numbers of 1 or more"),
        (changed(classes=True), "whole numbers"),
        (changed(channels="1"), "whole numbers"),
        (changed(arch=None), "arch: expected text, found None"),
        (changed(seed=1.5), "seed: expected a whole number"),
        (changed(robustifier=3), "robustifier: expected text or null"),
        (changed(normalisation=[]), "normalisation: expected an object"),
        (changed(normalisation={"mean": [0.5]}), "a mean and a std"),
        (changed(normalisation={"mean": ["a"], "std": [1]}), "mean: expected a list of numbers"),
        (changed(normalisation={"mean": [math.nan], "std": [1]}), "finite"),
        (changed(normalisation={"mean": [10**400], "std": [1]}), "too large"),
        (changed(versions={"torch": 2}), "torch: expected text"),
        (changed(lineage=[]), "expected an object, found "),
        (descended(mode=None), "mode: expected text, found None"),
        (descended(source="x"), "source: expected an object or null, found 'x'"),
        (descended(source={}), "has no 'versions'"),
        (descended(ticket={}), "has no 'sha256'"),
        (descended(ticket={**TICKET, "sparsity": 0.9}), "expected an object, found 0.9"),
        (descended(ticket={**TICKET, "sparsity": {"reached": {"prunable": 1e300}}}), "0 to 1"),
        (descended(ticket={**TICKET, "sparsity": {"reached": {"prunable": -5}}}), "found -5"),
        (descended(ticket={**TICKET, "odd": math.nan}), "not JSON compliant"),
        (descended(ticket={**TICKET, "odd": "\ud800"}), "no Unicode"),
        ("{}", "has no 'format'"),
        ('{"format": 1, "format": 1}', "has twice: format"),
        ("[]", "no JSON object"),
        ("nonsense", "no JSON"),
        ('{"format": 1}', "has no 'versions'"),
        ("\ud800", "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_what_is_malformed_is_told(text: str, message: str) -> None:
    with pytest.raises(ticketkit.CheckpointError, match=message) as caught:
        Pretraining.of_text("a file", text)
    assert str(caught.value).startswith(f"a file: its {PRETRAINING!r} metadata")
    samples.check_message(caught.value)


@given(
    st.sampled_from(sorted(json.loads(TOLD.text()))),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=4,
    ),
)
def test_any_other_value_is_read_or_told(name: str, value: Any) -> None:
    try:
        told = Pretraining.of_text("x", changed(**{name: value}))
    except ticketkit.CheckpointError as error:
        samples.check_message(error)
    else:
        assert Pretraining.of_text("x", told.text()) == told


def test_nothing_is_a_normalisation_too() -> None:
    assert checked_normalisation({}) == {}
