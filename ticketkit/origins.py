"""Where a network that was measured came from: its pretraining, its ticket, its transfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ticketkit.fields import field as field_of
from ticketkit.fields import object_of
from ticketkit.figures import Figure, figures_of

PRETRAIN, TRANSFER, EVALUATE = (
    "ticketkit.pretrain/1",
    "ticketkit.transfer/1",
    "ticketkit.evaluate/1",
)

Training = Mapping[str, Any]
"""A training's task, arch, fit, seed and robustifier."""


@dataclass(frozen=True)
class Pretrained:
    """A network as `pretrain` left it."""

    training: Training
    digest: str
    figures: Mapping[Figure, float]


@dataclass(frozen=True)
class Known:
    """Networks by the digest of their weights, which other documents name."""

    pretrained: dict[str, Pretrained] = field(default_factory=dict)
    transfers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The documents of transfers."""


@dataclass(frozen=True)
class Origin:
    """Where a network came from; None: it is not told, or there is none."""

    pretraining: Training | None
    transfer: Training | None
    ticket: Mapping[str, Any] | None
    mode: str | None
    guessed: bool = False
    """Whether the last training is taken for the pretraining, as no document names the network."""


def pretrained_of(content: Mapping[str, Any]) -> Pretrained:
    """What a document of `pretrain` says; KeyError or ValueError where it is malformed."""
    training = _training(object_of(content["pretraining"]))
    return Pretrained(training, field_of(content, "digest", str), figures_of(content))


def origin_of(content: Mapping[str, Any], known: Known) -> Origin:
    """What a document, and those that it names, say of its network.

    The checkpoint that `evaluate` reads tells only what it was trained on last, so the other
    results are asked whether one of them is of this very network. KeyError or ValueError where the
    document is malformed.
    """
    ticket = field_of(content, "ticket", dict, type(None))
    source = content["source"] and _training(object_of(content["source"]))
    if content["schema"] == TRANSFER:
        pretraining = source or _pretraining(ticket, None, known)
        transfer = _training(object_of(content["transfer"]))
        return Origin(pretraining, transfer, ticket, field_of(content, "mode", str))
    digest = field_of(object_of(content["checkpoint"]), "sha256", str)
    before = known.transfers.get(digest)
    if before is not None and (ticket is None or _same(ticket, before["ticket"])):
        return origin_of(before, known)
    pretraining = _pretraining(ticket, digest, known)
    if pretraining is None or source == pretraining:
        guessed = pretraining is None and source is not None
        return Origin(source, None, ticket, None, guessed)
    return Origin(pretraining, source, ticket, None)


def _pretraining(
    ticket: Mapping[str, Any] | None, digest: str | None, known: Known
) -> Training | None:
    """That of the weights that a ticket was drawn from; without a ticket, of the network itself."""
    if ticket is not None:
        provenance = object_of(ticket["provenance"])
        digest = field_of(provenance, "source_sha256", str, type(None))
    found = known.pretrained.get(digest or "")
    return None if found is None else found.training


def _same(ticket: Mapping[str, Any], other: object) -> bool:
    """Whether two documents are on one ticket; one of them may have its digest too."""
    return isinstance(other, dict) and all(ticket.get(name) == other[name] for name in other)


def _training(record: Mapping[str, Any]) -> Training:
    texts = {name: field_of(record, name, str) for name in ("task", "arch", "fit")}
    robustifier = field_of(record, "robustifier", str, type(None))
    return {**texts, "seed": field_of(record, "seed", int), "robustifier": robustifier}
