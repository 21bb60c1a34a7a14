"""What documents of `transfer`, `evaluate` and `pretrain` say of the networks they are on."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.result_documents import (
    PGD,
    evaluate_document,
    pretrain_document,
    results,
    ticket_of,
    training,
    transfer_document,
)
from ticketkit.origins import Known, pretrained_of
from ticketkit.records import Record, record_of, without_lots

DIGITS = "digits:size=16,labels=100,corruption=none,severity=0.3"


def record(content: dict[str, Any], *others: dict[str, Any]) -> Record:
    """What a document says where these others are known."""
    known = Known()
    for other in others:
        if other["schema"] == "ticketkit.transfer/1":
            known.transfers[other["digest"]] = other
        else:
            known.pretrained[other["digest"]] = pretrained_of(other)
    return record_of("r", content, known)


def test_a_transfer_tells_its_prior_seeds_and_settings() -> None:
    found = record(transfer_document(0.9, 2, PGD, results(0.5), split=4, seed=7))
    assert found.sparsity == 0.9
    assert found.settings["task"] == DIGITS
    assert found.settings["source_task"] == "glyphs:size=16,count=8000"
    assert found.settings["mode"] == "linear"
    seeds = {name: seed for name, seed in found.seeds.items() if name != "data"}
    assert seeds == {
        "pretraining": 2,
        "transfer": 7,
        "split": "split=4",
        "ticket": 0,
        "evaluation": None,
    }
    assert found.apart["prior"] == PGD
    assert record(transfer_document(0.9, 2, None, results(0.5))).apart["prior"] == "natural"


def test_the_pretraining_that_a_transfer_does_not_tell_is_found_by_the_tickets_source() -> None:
    content = transfer_document(0.9, None, None, results(0.5))
    assert record(content).apart["prior"] is None
    content["ticket"] = ticket_of(0.9, source_sha256="d")
    pretrained = pretrain_document(3, PGD, 0.6, "d")
    assert record(content, pretrained).apart["prior"] == PGD
    assert record(content, pretrained).seeds["pretraining"] == 3
    assert record(content, {**pretrained, "digest": "other"}).apart["prior"] is None


def test_an_evaluated_transfer_is_of_the_pretraining_and_of_the_transfer() -> None:
    source = training("digits:labels=100,split=0", 5, fit="solver=newton")
    content = evaluate_document(ticket_of(0.9, source_sha256="d"), source, results(0.5))
    found = record(content, pretrain_document(3, PGD, 0.6, "d"))
    assert found.apart["prior"] == PGD
    assert (found.seeds["pretraining"], found.seeds["transfer"]) == (3, 5)
    alone = record(content)  # its checkpoint tells of the last training alone
    assert alone.apart["prior"] == "natural"
    assert (alone.seeds["pretraining"], alone.seeds["transfer"]) == (5, None)
    assert (found.guessed, alone.guessed) == (False, True)


def test_an_evaluated_network_of_a_transfer_is_where_that_transfer_says() -> None:
    transfer = {**transfer_document(0.95, 2, PGD, results(0.5), split=1, seed=4), "digest": "m"}
    task = transfer["transfer"]["task"]
    ours = {"task": task, "data": transfer["data"], "seed": 9}
    # Its zeros are in the weights, so that nobody has to name the ticket again.
    for ticket in (None, {"sha256": "t", **transfer["ticket"]}):
        found = record(
            evaluate_document(ticket, transfer["transfer"], results(0.5), **ours), transfer
        )
        expected = record(transfer)
        assert found.settings == {**expected.settings, "command": "evaluate"}
        assert found.seeds == {**expected.seeds, "evaluation": 9}
        assert (found.apart, found.sparsity) == (expected.apart, 0.95)
    sparser = evaluate_document(ticket_of(0.99), transfer["transfer"], results(0.5), **ours)
    assert record(sparser, transfer).sparsity == 0.99  # masked once more: another network


def test_an_evaluated_pretraining_is_no_transfer() -> None:
    pretrained = pretrain_document(3, PGD, 0.6, "m")
    content = evaluate_document(None, pretrained["pretraining"], results(0.5))
    found = record(content)
    assert record(content, pretrained) == replace(found, guessed=False)
    assert found.guessed
    assert (found.sparsity, found.settings["ticket"]) == (0, None)
    assert (found.seeds["pretraining"], found.seeds["transfer"]) == (3, None)


def test_seeds_of_a_tasks_data_are_no_settings() -> None:
    assert without_lots("digits:labels=100,split=12") == "digits:labels=100"
    assert without_lots("digits:split=12,labels=100") == "digits:labels=100"
    assert without_lots("glyphs:seed=3") == "glyphs"
    assert without_lots("p.q:Task:split=1,x=2") == "p.q:Task:x=2"
    assert without_lots("emnist:split=letters,seeds=3") == "emnist:split=letters,seeds=3"


def test_a_pretraining_on_other_pictures_is_another_one() -> None:
    content = transfer_document(0.9, 0, None, results(0.5))
    content["source"]["task"] = "glyphs:size=16,count=8000,seed=1"
    assert record(content).seeds["pretraining"] == "0 (seed=1)"
    assert record(content).settings["source_task"] == "glyphs:size=16,count=8000"


def test_sparsities_are_told_apart_to_six_digits() -> None:
    asked = [
        record(transfer_document(s, 0, None, results(0.5))).sparsity for s in (0.9, 0.9 + 1e-9)
    ]
    assert asked == [0.9, 0.9]


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("transfer", "seed"), ..., "seed"),
        (("transfer", "seed"), "3", "seed: expected a whole number, found '3'"),
        (("source", "seed"), None, "seed: expected a whole number, found None"),
        (("ticket", "provenance", "seed"), ..., "seed"),
        (("ticket", "sparsity", "requested"), 1.5, "sparsities from 0 to 1, found 1.5 and 0.9"),
        (("ticket", "sparsity", "requested"), float("nan"), "found nan"),
        (("ticket", "parts"), [], "expected an object"),
        (("ticket",), "x", "ticket: expected an object or null"),
        (("results",), ..., "results"),
        (("mode",), 3, "mode: expected text, found 3"),
    ],
)
def test_a_malformed_document_is_refused_by_its_name(
    path: tuple[str, ...], value: object, told: str
) -> None:
    content = transfer_document(0.9, 0, None, results(0.5))
    place: Any = content
    for name in path[:-1]:
        place = place[name]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises((KeyError, ValueError), match=re.escape(told)):
        record(content)


@pytest.mark.parametrize("lacking", ["pretraining", "results", "digest"])
def test_a_malformed_pretraining_is_refused(lacking: str) -> None:
    content = pretrain_document(0, None, 0.8, "d")
    del content[lacking]
    with pytest.raises(KeyError, match=lacking):
        pretrained_of(content)
