"""The figures of a result document, by what makes two of them comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ticketkit.errors import printable
from ticketkit.fields import field, object_of

_LARGEST = 1e100  # so that sums and squares of a few figures are finite


class Figure(NamedTuple):
    """Which number it is: of two that have one `Figure` the better one can be told."""

    evaluator: str
    """The evaluator's spec, with every option."""
    name: str
    unit: str
    better: str


def figures_of(content: Mapping[str, Any]) -> dict[Figure, float]:
    """Each figure of a document's results; KeyError or ValueError where they are malformed."""
    found = {}
    for evaluator, figures in object_of(content["results"]).items():
        for name, told in object_of(figures).items():
            estimate = object_of(told)
            value = field(estimate, "value", int, float)
            if not -_LARGEST < value < _LARGEST:
                shown = printable(f"{evaluator}.{name}")
                raise ValueError(f"{shown}: expected a finite number, found {value}")
            unit, better = field(estimate, "unit", str), field(estimate, "better", str)
            if better not in ("higher", "lower"):
                raise ValueError(f"better: expected higher or lower, found {printable(better)!r}")
            found[Figure(evaluator, name, unit, better)] = float(value)
    return found
