"""Figures of result documents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.result_documents import estimate, results
from ticketkit.figures import Figure, figures_of


def test_a_figure_is_known_by_its_evaluator_name_unit_and_direction() -> None:
    found = figures_of({"results": {**results(0.75), "cost": {"ms": estimate(3, "ms", "lower")}}})
    assert list(found) == [
        Figure("accuracy", "top1", "share", "higher"),
        Figure("accuracy", "per_class", "share", "higher"),
        Figure("adversarial:norm=l2,eps=0.25,steps=10", "pgd10-0.25", "share", "higher"),
        Figure("cost", "ms", "ms", "lower"),
    ]
    assert found[Figure("accuracy", "top1", "share", "higher")] == 0.75
    assert found[Figure("cost", "ms", "ms", "lower")] == 3.0


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"value": float("nan")}, "accuracy.t: expected a finite number, found nan"),
        ({"value": float("-inf")}, "found -inf"),
        ({"value": 10**400}, "found 1000"),
        ({"value": "0.5"}, "value: expected a whole number or a number, found '0.5'"),
        ({"value": True}, "found True"),
        ({"better": "bigger"}, "better: expected higher or lower, found 'bigger'"),
        ({"unit": None}, "unit: expected text, found None"),
        ({"n": -1}, "n: expected a count of 1 or more, found -1"),
    ],
)
def test_what_is_no_figure_is_told(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        figures_of({"results": {"accuracy": {"t": {**estimate(0.5), **changed}}}})


def test_which_figure_is_malformed_is_told() -> None:
    # Older results had a figure's value where its fields are now.
    with pytest.raises(ValueError, match=r"^accuracy\.value: expected an object, found 0\.82$"):
        figures_of({"results": {"accuracy": {"value": 0.82, "n": 1697}}})
    with pytest.raises(ValueError, match=r"^accuracy\.top1: no field 'unit'$"):
        figures_of({"results": {"accuracy": {"top1": {"value": 0.82}}}})


@pytest.mark.parametrize("found", [None, [], {"accuracy": 0.5}, {"accuracy": {"top1": 0.5}}])
def test_results_of_another_form_are_refused(found: object) -> None:
    with pytest.raises(ValueError, match="expected an object, found"):
        figures_of({"results": found})


def test_a_share_is_from_0_to_1() -> None:
    told = {"value": 9.9, "unit": "share", "better": "higher"}
    with pytest.raises(ValueError, match=r"accuracy\.top1: expected a share, from 0 to 1, found 9"):
        figures_of({"results": {"accuracy": {"top1": told}}})
