"""Mutations of JSON as a tree: what comes out is JSON again, of another meaning."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

from tests.fuzz.bytewise import INTERESTING


class Pairs(list[tuple[str, Any]]):
    """An object of JSON, which may have a key twice."""

    def get(self, key: str) -> Any:
        """The value of a key, None where it is not there."""
        return next((value for name, value in reversed(self) if name == key), None)

    def put(self, key: str, value: object) -> None:
        """Set the value of a key where it is, at the end where it is not."""
        at = next((i for i, (name, _) in enumerate(self) if name == key), len(self))
        self[at : at + 1] = [(key, value)]


class Raw(str):
    """Text that stands for itself, such as a number that Python cannot hold."""


_TEXTS = (
    *("", "x", "__metadata__", "ticketkit", "data_offsets", "module.", "model.x", "x" * 600),
    *("\x1b[31m", "\n", "\0", "\u202e", "\ud800", "é模", "../x.safetensors", "b.safetensors"),
    *("F32", "U8", "BF16", "F8_E4M3", "F4", "F6_E2M3", "C64", "I64", "packed", "rice"),
)
_VALUES: tuple[Any, ...] = (
    *(*INTERESTING, *_TEXTS, None, True, False, 0.5, 1e308, -0.0, [], [[]], [0], [1, 1], Pairs()),
    *map(Raw, ("NaN", "Infinity", "1e999", "-0", "2E0", "1" * 5000, "[" * 50_000 + "]" * 50_000)),
    *map(Raw, ("[" * 150 + "]" * 150, '{"a":' * 60 + "1" + "}" * 60)),
)


def parse(text: str | bytes) -> Any:
    """JSON as a tree of `Pairs`, lists and scalars; a `ValueError` where it is none."""
    return json.loads(text, object_pairs_hook=Pairs)


def dump(tree: Any) -> str:
    """The tree as text."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{dump(value)}" for key, value in tree) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(dump, tree)) + "]"
    return json.dumps(tree)


def mutate_tree(random: Random, tree: Any) -> Any:
    """The tree changed at one node or a few."""
    root = [copy.deepcopy(tree)]
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        slots = [*_slots(root)]
        where, index = random.choice(slots)
        value = _value(where, index)
        if isinstance(where, Pairs) and random.random() < 0.3:
            _mutate_pairs(random, where, index)
        elif random.random() < 0.4:
            _set(where, index, _nudged(random, value))
        elif random.random() < 0.3:
            _set(where, index, copy.deepcopy(_value(*random.choice(slots))))
        else:
            _set(where, index, copy.deepcopy(random.choice(_VALUES)))
    return root[0]


Slot = tuple[list[Any], int]


def _slots(node: list[Any]) -> list[Slot]:
    """Every place in the tree that holds a value."""
    found: list[Slot] = []
    for index in range(len(node)):
        found.append((node, index))
        value = _value(node, index)
        if isinstance(value, list):
            found += _slots(value)
    return found


def _value(where: list[Any], index: int) -> Any:
    return where[index][1] if isinstance(where, Pairs) else where[index]


def _set(where: list[Any], index: int, value: Any) -> None:
    where[index] = (where[index][0], value) if isinstance(where, Pairs) else value


def _mutate_pairs(random: Random, where: Pairs, index: int) -> None:
    """A key of another name, twice, gone, or in another place."""
    key, value = where[index]
    kind = random.randrange(4)
    if kind == 0:
        where[index] = (random.choice((*_TEXTS, key + "x", key[1:])), value)
    elif kind == 1:
        where.insert(random.randint(0, len(where)), (key, copy.deepcopy(random.choice(where)[1])))
    elif kind == 2:
        del where[index]
    else:
        random.shuffle(where)


def _nudged(random: Random, value: Any) -> Any:
    """A value near the one that was there."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return random.choice((value + 1, value - 1, -value, 2 * value, value + 8, float(value)))
    if isinstance(value, float):
        return random.choice((-value, value * 1e300, int(value), value + 1))
    if isinstance(value, str):
        at = random.randint(0, len(value))
        return value[:at] + random.choice(_TEXTS) + value[at + random.randint(0, 1) :]
    if isinstance(value, Pairs):
        return value + Pairs([(random.choice(_TEXTS), random.choice(_VALUES))])
    return random.choice((value * 2, value[1:], [*value, 1], [value], value[::-1]))
