"""What a result document says: its figures, and what has to be known to compare them fairly."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ticketkit.errors import InputError, printable
from ticketkit.fields import field, object_of
from ticketkit.figures import Figure, figures_of
from ticketkit.resultfiles import Document

PRETRAIN, TRANSFER, EVALUATE = (
    "ticketkit.pretrain/1",
    "ticketkit.transfer/1",
    "ticketkit.evaluate/1",
)
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


@dataclass(frozen=True)
class Pretrained:
    """A network as `pretrain` left it."""

    told: Mapping[str, Any]
    """Its task, arch, fit, seed and robustifier."""
    digest: str
    figures: Mapping[Figure, float]


def pretrained_of(document: Document) -> Pretrained:
    """What a document of `pretrain` says; an `InputError` where it is malformed."""
    with _reading(document) as content:
        told = _training(object_of(content["pretraining"]))
        return Pretrained(told, field(content, "digest", str), figures_of(content))


def record_of(document: Document, pretrained: Mapping[str, Pretrained]) -> Record:
    """What a document of `transfer` or `evaluate` says; an `InputError` where it is malformed.

    `pretrained` has networks by their digests: where one is a ticket's source it tells the prior.
    """
    with _reading(document) as content:
        ticket = field(content, "ticket", dict, type(None))
        prior, trained = _trainings(content, pretrained.get(_source_of(content, ticket)))
        transfer = content["schema"] == TRANSFER
        made = object_of(content["transfer"]) if transfer else content
        task, arch = field(made, "task", str), field(made, "arch", str)
        sparsity, reached = _sparsities(ticket)
        return Record(
            path=document.path,
            settings={
                "command": "transfer" if transfer else "evaluate",
                "task": without_lots(task),
                "mode": field(content, "mode", str) if transfer else None,
                "arch": arch,
                "robustifier": trained and trained["robustifier"],
                "source_task": prior and without_lots(prior["task"]),
                "ticket": ticket and _drawn(ticket),
            },
            sparsity=sparsity,
            seeds={
                "pretraining": prior and _seed_of(prior),
                "transfer": trained and trained["seed"],
                "split": _lots(task),
                "ticket": ticket and field(object_of(ticket["provenance"]), "seed", int),
                "evaluation": None if transfer else field(content, "seed", int),
                "data": content.get("data"),
            },
            apart={
                "prior": prior and (prior["robustifier"] or NATURAL),
                "pretraining_fit": prior and prior["fit"],
                "ticket_robustifier": ticket and ticket["provenance"].get("robustifier"),
                "ticket_fit": ticket and ticket["provenance"].get("fit"),
                "fit": trained and trained["fit"],
            },
            reached=reached,
            figures=figures_of(content),
        )


def without_lots(task: str) -> str:
    """A task's spec without the seeds by which its data is drawn: `digits:labels=100`."""
    return _LOTS.sub("", task).rstrip(":,")


def _lots(task: str) -> str | None:
    return ",".join(lot.rstrip(",") for lot in _LOTS.findall(task)) or None


def _seed_of(prior: Mapping[str, Any]) -> int | str:
    """The seed of a pretraining, with that of its data where this is not the usual one."""
    lots = _lots(prior["task"])
    return prior["seed"] if lots in (None, "seed=0", "split=0") else f"{prior['seed']} ({lots})"


@contextmanager
def _reading(document: Document) -> Iterator[dict[str, Any]]:
    """A document's fields; what is raised of them becomes an `InputError` that names the file."""
    shown = printable(document.path)
    try:
        yield document.content
    except KeyError as error:
        raise InputError(f"{shown}: no field {printable(str(error))}") from None
    except (ValueError, OverflowError) as error:
        raise InputError(f"{shown}: {error}") from None


def _trainings(
    content: Mapping[str, Any], known: Pretrained | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """How the network was pretrained, and how it was then trained on its task; None: not told.

    A checkpoint tells only what it was trained on last, which `evaluate` has to tell apart.
    """
    source = content["source"] and _training(object_of(content["source"]))
    if content["schema"] == TRANSFER:
        return source or (dict(known.told) if known else None), _training(
            object_of(content["transfer"])
        )
    if known is None or source == known.told:
        return source, None
    return dict(known.told), source


def _training(record: Mapping[str, Any]) -> dict[str, Any]:
    texts = {name: field(record, name, str) for name in ("task", "arch", "fit")}
    seed, robustifier = field(record, "seed", int), field(record, "robustifier", str, type(None))
    return {**texts, "seed": seed, "robustifier": robustifier}


def _source_of(content: Mapping[str, Any], ticket: Mapping[str, Any] | None) -> str:
    """The digest of the weights that the ticket was drawn from; of the network, without one."""
    if ticket is None:
        return (
            field(object_of(content["checkpoint"]), "sha256", str)
            if content["schema"] == EVALUATE
            else ""
        )
    return field(object_of(ticket["provenance"]), "source_sha256", str, type(None)) or ""


def _sparsities(ticket: Mapping[str, Any] | None) -> tuple[float, float]:
    """The sparsity that was asked for, and the one that was reached."""
    if ticket is None:
        return 0.0, 0.0
    told = object_of(ticket["sparsity"])
    asked = field(told, "requested", int, float)
    reached = field(object_of(told["reached"]), "prunable", int, float)
    if not (0 <= asked <= 1 and 0 <= reached <= 1):
        raise ValueError(f"expected sparsities from 0 to 1, found {asked} and {reached}")
    return round(float(asked), 6), float(reached)


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
