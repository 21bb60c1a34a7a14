"""Which ticket does a domain gap speak for? What the paper's Table II tells, and how little."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Winner = Literal["robust", "match", "natural"]
Suggestion = Literal["robust", "either", "unknown"]
"""Natural tickets are never suggested: they won nowhere but among matches and a robust winner."""

SOURCE = "imagenet"
"""The task over which the table's FIDs are."""
_RANKS = {"natural": -1, "match": 0, "robust": 1}


@dataclass(frozen=True)
class Point:
    """A downstream task of the table."""

    task: str
    fid: float
    """Over ImageNet."""
    winner: Winner


@dataclass(frozen=True)
class Table:
    """Table II."""

    paper: str
    source: str
    settings: str
    pictures: int
    """How many pictures of the source."""
    points: tuple[Point, ...]
    """By falling FID."""

    @property
    def mixed(self) -> float:
        """The largest FID of a task that robust tickets did not win."""
        return max(point.fid for point in self.points if point.winner != "robust")

    @property
    def robust(self) -> float:
        """The least FID from which on robust tickets won every task."""
        return min(point.fid for point in self.points if point.fid > self.mixed)

    def rank_correlation(self) -> dict[str, float]:
        """Kendall's tau-b of FID and winner (natural, match, robust), and its two-sided p value.

        By the normal approximation, as winners are tied.
        """
        from scipy.stats import kendalltau

        found = kendalltau([p.fid for p in self.points], [_RANKS[p.winner] for p in self.points])
        return {"kendall_tau": float(found.statistic), "p": float(found.pvalue)}

    def odd_ones(self) -> list[Point]:
        """Robust winners below the largest FID that they did not win: they contradict the trend."""
        return [p for p in self.points if p.winner == "robust" and p.fid < self.mixed]


@cache
def table_two() -> Table:
    """The table that ships with ticketkit."""
    text = files("ticketkit").joinpath("advice.toml").read_text(encoding="utf-8")
    told = tomllib.loads(text)
    return Table(**{**told, "points": tuple(Point(**point) for point in told["points"])})


def advise(fid: float, incomparable: Sequence[str] = ()) -> dict[str, Any]:
    """What a distance suggests, and how far to trust it.

    `incomparable`: why it must not be compared with the table's numbers; nothing is suggested then.
    """
    table = table_two()
    suggests, reason = ("unknown", "") if incomparable else _suggestion(fid, table)
    return {
        "suggests": suggests,
        "comparable": not incomparable,
        "reasons": list(incomparable) or [reason],
        "caveats": _caveats(table),
        "rank_correlation": table.rank_correlation(),
        "table": asdict(table),
    }


def incomparable(
    *, inception: bool, published: bool, source: str, few: Mapping[str, int]
) -> list[str]:
    """Why a distance is none that may be compared with the table's; empty where it may be.

    `inception`: whether features are of the FID's own network, and `published`: with the weights
    that FIDs are computed with. `few`: how many pictures those have that have too few for it.
    """
    found = []
    if source != SOURCE:
        found.append(f"the table's source is {SOURCE}, this one's {source}")
    if not inception:
        return [
            *found,
            "these are not the features that an FID is of: their scale is their own, so that "
            "distances rank tasks among themselves alone",
        ]
    if not published:
        found.append("these are not the weights that FIDs are computed with, by their SHA-256")
    if few:
        counts = " and ".join(f"{name} has {n:,}" for name, n in few.items())
        found.append(
            f"{counts} pictures, no more than an FID has features: of the number its order of "
            "magnitude alone can be read"
        )
    return found


def _suggestion(fid: float, table: Table) -> tuple[Suggestion, str]:
    far = [point for point in table.points if point.fid >= table.robust]
    near = Counter(point.winner for point in table.points if point.fid <= table.mixed)
    if fid >= table.robust:
        return "robust", f"all {len(far)} tasks from an FID of {table.robust} on were won by them"
    if fid <= table.mixed:
        return "either", (
            f"of the {near.total()} tasks up to an FID of {table.mixed}, {near['match']} were a "
            f"match, {near['natural']} were won by natural tickets and {near['robust']} by robust "
            "ones"
        )
    return "unknown", f"the table has no task between {table.mixed} and {table.robust}"


def _caveats(table: Table) -> list[str]:
    found = table.rank_correlation()
    odd = " and ".join(f"{point.task} ({point.fid})" for point in table.odd_ones())
    return [
        f"The table is {len(table.points)} tasks of one setting: {table.settings}.",
        f"{odd}, won by robust tickets, contradicts the trend that it shows.",
        f"Its rank correlation of FID and winner is {found['kendall_tau']:.2f} (Kendall's tau-b, "
        f"p = {found['p']:.3f} by the normal approximation).",
        "An FID comes out larger the fewer pictures there are; how pictures were resized, and "
        "which splits of a task were taken, the paper does not tell.",
    ]
