"""What Table II advises, and how far it is to be trusted."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from ticketkit.advice import advise, incomparable, table_two

# As printed in the paper, by rows.
PRINTED = """
CIFAR-10	Aircraft	CIFAR-100	Pets	Flowers	Cars
205.04	198.33	190.31	173.23	153.76	150.92
Robust	Robust	Robust	Robust	Robust	Robust
Food	DTD	Birdsnap	SUN397	Caltech-101	Caltech-256
115.95	97.33	92.64	67.7	56.71	27.54
Match	Natural	Match	Natural	Robust	Match
"""


def test_the_table_is_the_papers() -> None:
    lines = [line.split("\t") for line in PRINTED.strip().splitlines()]
    names, fids, winners = (lines[i] + lines[i + 3] for i in range(3))
    expected = [
        (name.lower().replace("-", ""), float(fid), winner.lower())
        for name, fid, winner in zip(names, fids, winners, strict=True)
    ]
    assert [(p.task, p.fid, p.winner) for p in table_two().points] == expected


@pytest.mark.parametrize(
    ("fid", "suggests", "reason"),
    [
        (300, "robust", "all 6 tasks from an FID of 150.92 on"),
        (150.92, "robust", "all 6 tasks from an FID of 150.92 on"),
        (150.91, "unknown", "no task between 115.95 and 150.92"),
        (115.96, "unknown", "no task between 115.95 and 150.92"),
        (115.95, "either", "of the 6 tasks up to an FID of 115.95, 3 were a match, 2 "),
        (0, "either", "2 were won by natural tickets and 1 by robust ones"),
    ],
)
def test_it_suggests_what_the_table_tells_and_no_more(
    fid: float, suggests: str, reason: str
) -> None:
    found = advise(fid)
    assert (found["suggests"], found["comparable"]) == (suggests, True)
    (told,) = found["reasons"]
    assert reason in told
    json.dumps(found)


@pytest.mark.parametrize(
    ("options", "reasons"),
    [
        ({}, []),
        ({"source": "glyphs"}, ["the table's source is imagenet, this one's glyphs"]),
        ({"published": False}, ["not the weights that FIDs are computed with"]),
        ({"few": {"a": 2048, "b": 9}}, ["a has 2,048 and b has 9 pictures, .* of magnitude alone"]),
        ({"inception": False, "published": False, "few": {"a": 9}}, ["scale is their own"]),
        ({"source": "x", "inception": False}, ["source is imagenet", "scale is their own"]),
    ],
)
def test_a_number_is_compared_only_where_it_was_made_as_the_tables(
    options: dict[str, Any], reasons: list[str]
) -> None:
    usual = {"inception": True, "published": True, "source": "imagenet", "few": {}}
    found = incomparable(**{**usual, **options})
    assert len(found) == len(reasons)
    for told, reason in zip(found, reasons, strict=True):
        assert re.search(reason, told), told


def test_what_may_not_be_compared_suggests_nothing() -> None:
    found = advise(300, ["another network", "few pictures"])
    assert (found["suggests"], found["comparable"]) == ("unknown", False)
    assert found["reasons"] == ["another network", "few pictures"]


def test_the_task_against_the_trend_is_told() -> None:
    assert [(p.task, p.fid) for p in table_two().odd_ones()] == [("caltech101", 56.71)]
    assert any("caltech101 (56.71)" in each for each in advise(100)["caveats"])


def test_the_p_value_is_near_that_of_all_orders() -> None:
    table = table_two()
    found = table.rank_correlation()
    ranks = np.array([{"natural": -1, "match": 0, "robust": 1}[p.winner] for p in table.points])
    places = range(len(ranks))
    taus = []
    for robust in itertools.combinations(places, 7):
        for natural in itertools.combinations(sorted({*places} - {*robust}), 2):
            order = np.zeros(len(ranks))
            order[[*robust]], order[[*natural]] = 1, -1
            taus.append(_concordance(order))
    exact = np.mean(np.abs(taus) >= abs(_concordance(ranks)))
    assert len(taus) == 792 * 10
    assert found["p"] == pytest.approx(exact, abs=0.01)
    ties = 66 - 21 - 3 - 1  # pairs of different winners
    assert found["kendall_tau"] == pytest.approx(_concordance(ranks) / (66 * ties) ** 0.5)
    assert found["kendall_tau"] == kendalltau([p.fid for p in table.points], ranks).statistic


def _concordance(order: np.ndarray) -> float:
    """Concordant less discordant pairs, for winners by falling FID."""
    return float(np.triu(np.sign(order[:, None] - order[None])).sum())
