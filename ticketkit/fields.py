"""Fields of a ticket's metadata, each of the kind that it has to be of.

A `ValueError` says what was expected and what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ticketkit.errors import printable

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def whole(values: object, least: int) -> tuple[int, ...]:
    """A list of whole numbers, none less than `least`."""
    if not isinstance(values, list) or any(type(v) is not int or v < least for v in values):
        found = printable(repr(values), 80)
        raise ValueError(f"expected whole numbers of {least} or more, found {found}")
    return tuple(values)


def field(record: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """A field of the metadata, of one of the kinds that JSON has."""
    value = record[name]
    if type(value) not in kinds:
        wanted = " or ".join(_WORDS[kind] for kind in kinds)
        raise ValueError(f"{name}: expected {wanted}, found {printable(repr(value), 80)}")
    return value


def texts(record: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A field that is a list of text."""
    values = field(record, name, list)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name}: expected a list of text, found {printable(repr(values), 80)}")
    return tuple(values)


def numbers(record: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """A field that is a list of numbers."""
    values = field(record, name, list)
    if not all(type(value) in (int, float) for value in values):
        raise ValueError(f"{name}: expected a list of numbers, found {printable(repr(values), 80)}")
    return tuple(map(float, values))


def share(record: Mapping[str, Any], name: str) -> float:
    """A field that is a number from 0 to 1."""
    value = field(record, name, int, float)
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected 0 to 1, found {printable(repr(value), 80)}")
    return float(value)


def object_of(value: Any) -> dict[str, Any]:
    """A value that is an object."""
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {printable(repr(value), 80)}")
    return value
