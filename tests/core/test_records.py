"""What documents of `transfer`, `evaluate` and `pretrain` say of the networks they are on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.result_documents import (
    PGD,
    evaluate_document,
    evaluated_document,
    pretrain_document,
    results,
    ticket_of,
    training,
    transfer_document,
)
from ticketkit.origins import pretrained_of
from ticketkit.records import Record, record_of, without_lots

DIGITS = "digits:size=16,labels=100,corruption=none,severity=0.3"


def record(content: dict[str, Any]) -> Record:
    return record_of("r", content)


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


def test_a_transfer_of_a_checkpoint_that_tells_nothing_has_no_prior() -> None:
    found = record(transfer_document(0.9, None, None, results(0.5)))
    assert (found.apart["prior"], found.seeds["pretraining"]) == (None, None)


def test_an_evaluated_network_of_a_transfer_is_where_that_transfer_says() -> None:
    transfer = transfer_document(0.95, 2, PGD, results(0.5), split=1, seed=4)
    found, expected = record(evaluated_document(transfer, seed=9)), record(transfer)
    assert found.settings == {**expected.settings, "command": "evaluate"}
    assert found.seeds == {**expected.seeds, "evaluation": 9}
    assert (found.apart, found.sparsity) == (expected.apart, 0.95)


def test_what_was_transferred_twice_has_the_prior_of_its_first_training() -> None:
    once = transfer_document(0.9, 2, PGD, results(0.5), seed=4)
    twice = transfer_document(0.95, 0, None, results(0.5), seed=7)
    lineage = {"mode": "finetune", "ticket": once["ticket"], "source": once["source"]}
    twice["source"] = {**once["transfer"], "lineage": lineage}
    found = record(twice)
    assert (found.apart["prior"], found.seeds["pretraining"], found.sparsity) == (PGD, 2, 0.95)
    twice["source"]["lineage"]["source"] = None
    assert record(twice).apart["prior"] is None


def test_a_ticket_of_an_evaluated_pretraining_is_no_transfer() -> None:
    source = training("glyphs:size=16,count=8000,seed=0", 3, PGD)
    dense = record(evaluate_document(None, source, results(0.5)))
    assert (dense.sparsity, dense.settings["ticket"], dense.apart["prior"]) == (0, None, PGD)
    assert (dense.seeds["pretraining"], dense.seeds["transfer"]) == (3, None)
    sparse = record(evaluate_document(ticket_of(0.9), source, results(0.5)))
    assert (sparse.sparsity, sparse.apart["prior"]) == (0.9, PGD)


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
        (("ticket", "sparsity", "requested"), 1.5, "requested: expected 0 to 1, found 1.5"),
        (("source", "lineage"), [], "expected an object, found []"),
        (("ticket", "sparsity", "requested"), float("nan"), "found nan"),
        (("ticket", "parts"), [], "expected an object"),
        (("ticket",), "x", "ticket: expected an object or null"),
        (("results",), ..., "results"),
        (("mode",), 3, "mode: expected text or null, found 3"),
        (("transfer",), [], "transfer: expected an object or null, found []"),
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


@pytest.mark.parametrize("lacking", ["pretraining", "results"])
def test_a_malformed_pretraining_is_refused(lacking: str) -> None:
    content = pretrain_document(0, None, 0.8)
    del content[lacking]
    with pytest.raises(KeyError, match=lacking):
        pretrained_of(content)
