"""What a result document says: its figures, and what has to be known to compare them fairly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ticketkit.fields import field, object_of, share
from ticketkit.figures import Figure, figures_of
from ticketkit.origins import TRANSFER, Training, origin_of

NATURAL = "natural"
"""The prior of a network that was pretrained without a robustifier."""
# The options of a task that draw its pictures, or how they are split: seeds like any other.
_LOTS = re.compile(r"(?<=[:,])(?:split|seed)=\d+(?:,|$)")
_DRAWN = ("include", "exclude", "allow_empty_layers")


@dataclass(frozen=True)
class Record:
    """One network that was measured."""

    path: str
    settings: Mapping[str, Any]
    """What two networks must agree in for their comparison to be fair."""
    sparsity: float
    """As it was asked for, to six digits; 0 for a dense network."""
    seeds: Mapping[str, Any]
    """What one side is paired with the other by: seeds, and the digest of the data."""
    apart: Mapping[str, Any]
    """What may differ between two sides: the prior, and what may belong to one."""
    reached: float
    """The sparsity over the prunable weights."""
    figures: Mapping[Figure, float]


def record_of(path: str, content: Mapping[str, Any]) -> Record:
    """What a document of `transfer` or `evaluate`, which stands in the file `path`, says.

    KeyError or ValueError where it is malformed.
    """
    origin = origin_of(content)
    prior, transfer, ticket = origin.pretraining, origin.transfer, origin.ticket
    by_transfer = content["schema"] == TRANSFER
    made = object_of(content["transfer"]) if by_transfer else content
    task = field(made, "task", str)
    sparsity, reached = _sparsities(ticket)
    return Record(
        path=path,
        settings={
            "command": "transfer" if by_transfer else "evaluate",
            "task": without_lots(task),
            "mode": origin.mode,
            "arch": field(made, "arch", str),
            "crop": content.get("crop"),
            "robustifier": transfer and transfer["robustifier"],
            "source_task": prior and without_lots(prior["task"]),
            "ticket": ticket and _drawn(ticket),
        },
        sparsity=sparsity,
        seeds={
            "pretraining": prior and _seed_of(prior),
            "transfer": transfer and transfer["seed"],
            "split": _lots(task),
            "ticket": ticket and field(object_of(ticket["provenance"]), "seed", int),
            "evaluation": None if by_transfer else field(content, "seed", int),
            "data": content.get("data"),
        },
        apart={
            "prior": prior and (prior["robustifier"] or NATURAL),
            "pretraining_fit": prior and prior["fit"],
            "ticket_robustifier": ticket and ticket["provenance"].get("robustifier"),
            "ticket_fit": ticket and ticket["provenance"].get("fit"),
            "fit": transfer and transfer["fit"],
        },
        reached=reached,
        figures=figures_of(content),
    )


def without_lots(task: str) -> str:
    """A task's spec without the seeds by which its data is drawn: `digits:labels=100`."""
    return _LOTS.sub("", task).rstrip(":,")


def _lots(task: str) -> str | None:
    return ",".join(lot.rstrip(",") for lot in _LOTS.findall(task)) or None


def _seed_of(prior: Training) -> int | str:
    """The seed of a pretraining, with that of its data where this is not the usual one."""
    lots = _lots(prior["task"])
    seed: int = prior["seed"]
    return seed if lots in (None, "seed=0", "split=0") else f"{seed} ({lots})"


def _sparsities(ticket: Mapping[str, Any] | None) -> tuple[float, float]:
    """The sparsity that was asked for, and the one that was reached."""
    if ticket is None:
        return 0.0, 0.0
    told = object_of(ticket["sparsity"])
    return round(share(told, "requested"), 6), share(object_of(told["reached"]), "prunable")


def _drawn(ticket: Mapping[str, Any]) -> dict[str, Any]:
    """How a ticket was drawn: all but its seed, and what belongs to the prior."""
    parts, told = object_of(ticket["parts"]), object_of(ticket["provenance"])
    task = field(told, "task", str, type(None))
    names = ("scheme", "criterion", "allocation", "strategy")
    return {
        **{name: field(parts, name, str) for name in names},
        "task": task and without_lots(task),
        **{name: told[name] for name in _DRAWN},
    }
