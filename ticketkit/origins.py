"""Where a network that was measured came from: its pretraining, its ticket, its transfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ticketkit.fields import field, object_of
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
    figures: Mapping[Figure, float]


@dataclass(frozen=True)
class Origin:
    """Where a network came from; None: it is not told, or there is none."""

    pretraining: Training | None
    transfer: Training | None
    ticket: Mapping[str, Any] | None
    mode: str | None


def pretrained_of(content: Mapping[str, Any]) -> Pretrained:
    """What a document of `pretrain` says; KeyError or ValueError where it is malformed."""
    return Pretrained(_training(object_of(content["pretraining"])), figures_of(content))


def origin_of(content: Mapping[str, Any]) -> Origin:
    """What a document of `transfer` or `evaluate` says of its network.

    KeyError or ValueError where it is malformed.
    """
    source, transfer = (field(content, n, dict, type(None)) for n in ("source", "transfer"))
    return Origin(
        pretraining=None if (first := _first(source)) is None else _training(first),
        transfer=None if transfer is None else _training(transfer),
        ticket=field(content, "ticket", dict, type(None)),
        mode=field(content, "mode", str, type(None)),
    )


def _first(source: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The training that all began with, where what was transferred had been transferred before."""
    while source is not None and source.get("lineage") is not None:
        source = field(object_of(source["lineage"]), "source", dict, type(None))
    return source


def _training(record: Mapping[str, Any]) -> Training:
    texts = {name: field(record, name, str) for name in ("task", "arch", "fit")}
    robustifier = field(record, "robustifier", str, type(None))
    return {**texts, "seed": field(record, "seed", int), "robustifier": robustifier}
