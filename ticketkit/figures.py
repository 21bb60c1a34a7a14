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
            try:
                unit, better, value = _figure(object_of(told))
            except (KeyError, ValueError) as error:
                shown = printable(f"{evaluator}.{name}")
                lacking = isinstance(error, KeyError)
                raise ValueError(f"{shown}: {'no field ' if lacking else ''}{error}") from None
            found[Figure(evaluator, name, unit, better)] = value
    return found


def _figure(estimate: Mapping[str, Any]) -> tuple[str, str, float]:
    """Unit, which is better, and the value."""
    value = field(estimate, "value", int, float)
    if not -_LARGEST < value < _LARGEST:
        raise ValueError(f"expected a finite number, found {printable(str(value), 40)}")
    unit, better = field(estimate, "unit", str), field(estimate, "better", str)
    if unit == "share" and not 0 <= value <= 1:
        raise ValueError(f"expected a share, from 0 to 1, found {value:g}")
    if better not in ("higher", "lower"):
        raise ValueError(f"better: expected higher or lower, found {printable(better)!r}")
    if field(estimate, "n", int) < 1:
        raise ValueError(f"n: expected a count of 1 or more, found {estimate['n']}")
    return unit, better, float(value)
