"""Robust or natural? What two folders of results come to, side against side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ticketkit.errors import MismatchError, UsageError, near, printable, some
from ticketkit.figures import Figure
from ticketkit.pairing import COUNTED, Group, nearest, paired
from ticketkit.records import NATURAL, Record
from ticketkit.runrecord import differences
from ticketkit.sides import Side, read_sides
from ticketkit.sourceloss import losses
from ticketkit.statistics import LEVEL
from ticketkit.verdicts import HIGH, LEAST, RULE, Comparison, Units, comparison, overall

_APART = 0.001
"""Where the sides reached sparsities this far apart, it is told."""


def compared(one: Path, other: Path, figures: Sequence[str] = ()) -> dict[str, Any]:
    """How the results in `one` differ from those in `other`: folders of runs, or result files.

    `figures` are names such as `accuracy` (its first figure) or `accuracy.per_class`; without any,
    the first of each evaluator is compared. An `InputError` where a side has no results, or
    contradicts itself; a `MismatchError` where no two results belong together; a `UsageError` for a
    figure that was not measured.
    """
    a, b, pretrained, notes = read_sides(one, other)
    groups, alone = paired(a.records, b.records)
    if not groups:
        raise MismatchError(f"nothing to pair: {_why_alone(a.records[0], b)}")
    names = _names(one, other)
    chosen = _chosen(groups, figures)
    for left, against in zip(alone, (b, a), strict=True):
        if left:
            notes.append(f"{len(left)} left out: {_why_alone(left[0], against)}")
    for group in groups:
        notes += _notes_on(group, names)
    return {
        "schema": "ticketkit.compare/1",
        "a": {"path": str(one), "name": names[0], "unpaired": len(alone[0])},
        "b": {"path": str(other), "name": names[1], "unpaired": len(alone[1])},
        "rule": {"text": RULE, "level": LEVEL, "least": LEAST, "high": HIGH},
        "groups": [_document(group, chosen, names) for group in groups],
        "notes": list(dict.fromkeys([*notes, *losses(pretrained)])),
    }


def _names(one: Path, other: Path) -> tuple[str, str]:
    short = one.name, other.name
    return short if all(short) and short[0] != short[1] else (str(one), str(other))


def _why_alone(record: Record, against: Side) -> str:
    shown, there = printable(record.path), printable(str(against.path))
    unlike = nearest(record, against.records)
    return f"{shown} has no counterpart in {there}; the nearest differs in {unlike}"


def _chosen(groups: Sequence[Group], names: Sequence[str]) -> list[Figure]:
    """The figures that are asked for, of those that both sides have."""
    every = list(dict.fromkeys(figure for group in groups for figure in group.figures()))
    if not every:
        raise MismatchError("nothing to compare: no figure was measured on both sides")
    # The first figure of an evaluator is what it stands for.
    asked = names or list(dict.fromkeys(figure.evaluator for figure in every))
    return list(dict.fromkeys(figure for name in asked for figure in _of_name(name, every)))


def _of_name(name: str, every: Sequence[Figure]) -> list[Figure]:
    found, seen = [], set()
    for figure in every:
        part, first = part_of(figure.evaluator), figure.evaluator not in seen
        seen.add(figure.evaluator)
        whole = {f"{part}.{figure.name}", f"{figure.evaluator}.{figure.name}"}
        if name in whole or (first and name in (part, figure.evaluator)):
            found.append(figure)
    if not found:
        known = list(dict.fromkeys(f"{part_of(f.evaluator)}.{f.name}" for f in every))
        raise UsageError(
            f"no figure {printable(name)!r} was measured on both sides; choose from "
            f"{some(known, 20)}{near(name, known)}"
        )
    return found


def part_of(evaluator: str) -> str:
    """An evaluator's name, without the options of its spec."""
    return evaluator.partition(":")[0]


def _document(group: Group, chosen: Sequence[Figure], names: tuple[str, str]) -> dict[str, Any]:
    winners = _winners(group, names)
    ours, theirs = group.apart
    found = [figure for figure in chosen if figure in group.figures()]
    return {
        "settings": dict(group.settings),
        "a": dict(ours),
        "b": dict(theirs),
        "winners": list(winners),
        "counts": COUNTED[group.counts],
        "figures": [_of_figure(group, figure, winners) for figure in found],
    }


def _winners(group: Group, names: tuple[str, str]) -> tuple[str, str]:
    """What verdicts call the sides: by their priors where one is natural, the other robust."""
    ours, theirs = (apart["prior"] for apart in group.apart)
    if None in (ours, theirs) or (ours == NATURAL) == (theirs == NATURAL):
        return names
    return ("Natural", "Robust") if ours == NATURAL else ("Robust", "Natural")


def _of_figure(group: Group, figure: Figure, winners: tuple[str, str]) -> dict[str, Any]:
    def decided(units: Units) -> dict[str, Any]:
        return _row(comparison(group.independent(units), figure.better, winners))

    units = {s: found for s in group.sparsities() if (found := group.units(figure, s))}
    whole = overall(units)
    return {
        **figure._asdict(),
        "sparsities": [
            {"sparsity": s, "reached": dict(zip("ab", group.reached(s), strict=True)), **decided(u)}
            for s, u in units.items()
        ],
        "overall": {"of": [s for s in units if s >= HIGH], **decided(whole)} if whole else None,
    }


def _row(found: Comparison) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {
        "a": found.a,
        "b": found.b,
        "difference": found.difference,
        "low": low,
        "high": high,
        "n": len(found.seeds),
        "seeds": list(found.seeds),
        "verdict": found.verdict,
    }


def _notes_on(group: Group, names: tuple[str, str]) -> Iterator[str]:
    """What a reader should know before believing a verdict."""
    ours, theirs = (dict(apart) for apart in group.apart)
    if ours.pop("prior") == (prior := theirs.pop("prior")):
        yield f"the sides have the same prior, {printable(prior or 'which is not told')}"
    for name, here, there in differences(ours, theirs):
        yield f"beside the prior the sides differ: {name.replace('_', ' ')} is {here} and {there}"
    yield from _on_independence(group)
    for sparsity in group.sparsities():
        a, b = group.reached(sparsity)
        if abs(a - b) > _APART:
            yield f"at sparsity {sparsity:g} {names[0]} reached {a:.4f}, {names[1]} {b:.4f}"
    apart = {f for a, b in group.pairs for f in a.figures.keys() ^ b.figures.keys()}
    if apart:
        shown = some(sorted(f"{figure.evaluator}.{figure.name}" for figure in apart))
        yield f"measured on one side alone, or in other units: {shown}"


def _on_independence(group: Group) -> Iterator[str]:
    if group.counts == "pretraining":
        return
    if group.pairs[0][0].seeds["pretraining"] is None:
        yield (
            f"no pretraining is told: {COUNTED[group.counts]} count as independent, but once where "
            "they change nothing"
        )
    else:
        yield (
            f"all pairs share one pretrained pair: the interval is over {COUNTED[group.counts]}, "
            "which count once where they change nothing, and says nothing of other pretrainings"
        )
