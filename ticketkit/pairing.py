"""Which network of one side is to be compared with which of the other: paired, never pooled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from ticketkit.errors import InputError, printable, some
from ticketkit.figures import Figure
from ticketkit.records import Record
from ticketkit.runrecord import differences
from ticketkit.verdicts import Pair, Units

# What the n of a group may count: the first of these seeds that it has two or more of. Whatever
# comes later is averaged within each, as it shares a pretrained pair: it is not independent.
# Seeds of an evaluation are always averaged: they measure the same two networks again.
COUNTED = {
    "pretraining": "pretraining seeds",
    "transfer": "transfer seeds",
    "split": "splits of the data",
    "ticket": "ticket seeds",
}

_Key = tuple[str, float, str]
"""Settings, sparsity and seeds, as text: what a network and its counterpart share."""


@dataclass(frozen=True)
class Group:
    """Pairs of networks with the same settings: they differ in sparsity, seeds and prior alone."""

    settings: Mapping[str, Any]
    apart: tuple[Mapping[str, Any], Mapping[str, Any]]
    """What may differ between the sides, of side A and of side B."""
    counts: str
    """What a unit is of: a key of `COUNTED`."""
    pairs: list[tuple[Record, Record]]

    def sparsities(self) -> list[float]:
        """Those that were measured on both sides, ascending."""
        return sorted({one.sparsity for one, _ in self.pairs})

    def figures(self) -> list[Figure]:
        """Those that both sides have, in the order in which the first documents have them."""
        return list(dict.fromkeys(f for a, b in self.pairs for f in a.figures if f in b.figures))

    def units(self, figure: Figure, sparsity: float) -> dict[str, list[Pair]]:
        """The pairs of one figure at one sparsity, by the seed that n counts."""
        found: dict[str, list[Pair]] = {}
        for a, b in self.pairs:
            if a.sparsity == sparsity and figure in a.figures and figure in b.figures:
                pair = a.figures[figure], b.figures[figure]
                found.setdefault(str(a.seeds[self.counts]), []).append(pair)
        return found

    def independent(self, units: Units) -> Units:
        """Of units that are to be compared, those that were measured once each.

        One pretrained pair whose figure no seed changes, as where a solver draws nothing, was
        measured once: to count it as often as it was repeated would prove anything. Of one that
        some seed changes each seed counts, so this is asked of what is compared and not before: a
        figure that is saturated at one sparsity may differ at the next.
        """
        if self.counts != "pretraining" and len(set(map(frozenset, units.values()))) == 1:
            return dict([next(iter(units.items()))])
        return units

    def reached(self, sparsity: float) -> Pair:
        """The sparsity that each side reached, on average."""
        there = [pair for pair in self.pairs if pair[0].sparsity == sparsity]
        return fmean(a.reached for a, _ in there), fmean(b.reached for _, b in there)


def paired(
    ours: Sequence[Record], theirs: Sequence[Record]
) -> tuple[list[Group], tuple[list[Record], list[Record]]]:
    """The pairs of networks by their settings, and each side's networks without a counterpart.

    An `InputError` that names the files where one side measured a network twice with different
    values, or has networks of two priors among those that have the same settings.
    """
    a, b = _networks(ours), _networks(theirs)
    groups: dict[str, list[tuple[Record, Record]]] = {}
    for key in sorted(a.keys() & b.keys()):
        groups.setdefault(key[0], []).append((a[key], b[key]))
    alone = [a[key] for key in a if key not in b], [b[key] for key in b if key not in a]
    return [_group(pairs) for pairs in groups.values()], alone


def nearest(record: Record, others: Iterable[Record]) -> str:
    """In what a network differs from the one of the other side that is most like it."""

    def unlike(other: Record) -> tuple[int, float]:
        return len(_apart(record, other)), abs(record.sparsity - other.sparsity)

    return some(
        f"{name}: {here}, there {there}"
        for name, here, there in _apart(record, min(others, key=unlike))
    )


def _apart(record: Record, other: Record) -> list[tuple[str, str, str]]:
    return list(differences(_told(record), _told(other)))


def _told(record: Record) -> dict[str, Any]:
    return {**record.settings, "sparsity": record.sparsity, "seeds": dict(record.seeds)}


def _networks(records: Iterable[Record]) -> dict[_Key, Record]:
    """The networks of one side, each with the figures of all documents on it."""
    found: dict[_Key, Record] = {}
    for record in records:
        key = _text(record.settings), record.sparsity, _text(record.seeds)
        found[key] = _merged(found[key], record) if key in found else record
    return found


def _merged(one: Record, other: Record) -> Record:
    """Two documents on one network, which may have been measured bit by bit."""
    _check_alike([one, other])
    for figure, before in one.figures.items():
        if (now := other.figures.get(figure, before)) != before:
            shown = printable(f"{figure.evaluator}.{figure.name}")
            raise InputError(
                f"{_names(one, other)} have the same settings, sparsity and seeds, yet {shown} is "
                f"{before:g} in one and {now:g} in the other: leave one of them out"
            )
    return replace(one, figures={**one.figures, **other.figures})


def _group(pairs: list[tuple[Record, Record]]) -> Group:
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    _check_alike(ours)
    _check_alike(theirs)
    several = (name for name in COUNTED if len({str(r.seeds[name]) for r in ours}) > 1)
    counts = next(several, "pretraining")
    return Group(ours[0].settings, (ours[0].apart, theirs[0].apart), counts, pairs)


def _check_alike(records: Sequence[Record]) -> None:
    """Refuse that one side is of two priors: what would then be compared with what?"""
    first = records[0]
    for other in records:
        if found := list(differences(dict(first.apart), dict(other.apart))):
            shown = some(f"{name}: {before} and {now}" for name, before, now in found)
            raise InputError(
                f"{_names(first, other)} stand on one side, with the same settings, but differ in "
                f"{shown}: give each a folder of its own"
            )


def _names(one: Record, other: Record) -> str:
    return " and ".join(printable(record.path) for record in (one, other))


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
