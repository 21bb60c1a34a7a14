"""What a pretrained checkpoint says of itself, in one key of its file's metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ticketkit.errors import CheckpointError, UsageError
from ticketkit.fields import field as field_of
from ticketkit.fields import numbers, object_of, share, whole
from ticketkit.tensorfile import json_object

# The key; TICKET alone marks tickets.
PRETRAINING = "ticketkit.pretraining"
_FORMAT = 1


@dataclass(frozen=True)
class Lineage:
    """What a transferred network was before: a ticket of a pretrained one."""

    mode: str
    """How it was transferred."""
    ticket: Mapping[str, Any] = field(hash=False)
    """As `describe.ticket_origin` tells of it; only digest and sparsity are checked when read."""
    source: Pretraining | None
    """How the checkpoint that was transferred had been made; None where that did not tell."""


@dataclass(frozen=True)
class Pretraining:
    """How a checkpoint was made: what later commands need to make the same network of it."""

    arch: str
    """The network's spec, such as `resnet18:stem=small`."""
    classes: int
    channels: int
    """How many channels the pictures had."""
    task: str
    fit: str
    seed: int
    robustifier: str | None = None
    """The spec of the robustifier; None for natural training."""
    normalisation: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)
    """The `mean` and `std` of each channel by which the network normalises pictures in [0, 1]."""
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Version of each distribution that took part."""
    lineage: Lineage | None = None
    """Of a network that was transferred; None for one that was trained from scratch."""

    def text(self) -> str:
        """The JSON that `of_text` reads: the same for the same pretraining."""
        record = {"format": _FORMAT, **asdict(self)}
        return json.dumps(
            record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )

    @classmethod
    def of_text(cls, where: str, text: str) -> Pretraining:
        """What was written; fields of newer versions are passed over.

        `where` opens the `CheckpointError` that tells what is malformed.
        """
        where = f"{where}: its {PRETRAINING!r} metadata"
        record = json_object(where, text.encode(errors="surrogatepass"))
        try:
            if record["format"] != _FORMAT:
                raise ValueError("in a format of a newer ticketkit, that this one cannot read")
            told = cls._of(record)
            told.text().encode()  # of a ticket anything is taken that can be written again
        except UnicodeEncodeError:
            raise CheckpointError(f"{where} has text that is no Unicode") from None
        except KeyError as error:
            raise CheckpointError(f"{where} has no {error}") from None
        except (ValueError, OverflowError) as error:
            raise CheckpointError(f"{where}: {error}") from None
        except RecursionError:
            raise CheckpointError(f"{where} is nested too deeply") from None
        return told

    @classmethod
    def _of(cls, record: Mapping[str, Any]) -> Pretraining:
        versions = field_of(record, "versions", dict)
        normalisation = field_of(record, "normalisation", dict)
        known = {name: numbers(normalisation, name) for name in normalisation}
        classes, channels = whole([record["classes"], record["channels"]], least=1)
        return cls(
            arch=field_of(record, "arch", str),
            classes=classes,
            channels=channels,
            task=field_of(record, "task", str),
            fit=field_of(record, "fit", str),
            seed=field_of(record, "seed", int),
            robustifier=field_of(record, "robustifier", str, type(None)),
            normalisation=checked_normalisation(known),
            versions={name: field_of(versions, name, str) for name in versions},
            lineage=_lineage_of(record.get("lineage")),
        )


def _lineage_of(record: object) -> Lineage | None:
    if record is None:
        return None
    told = object_of(record)
    ticket, source = field_of(told, "ticket", dict), field_of(told, "source", dict, type(None))
    field_of(ticket, "sha256", str)
    share(object_of(object_of(ticket["sparsity"])["reached"]), "prunable")
    return Lineage(
        mode=field_of(told, "mode", str),
        ticket=ticket,
        source=None if source is None else Pretraining._of(source),
    )


def checked_normalisation(
    normalisation: Mapping[str, Sequence[float]],
) -> dict[str, tuple[float, ...]]:
    """A `mean` and a `std`, each a number a channel; or nothing. A `UsageError` otherwise."""
    found = {name: tuple(map(float, values)) for name, values in normalisation.items()}
    if not found:
        return found
    mean, std = found.get("mean", ()), found.get("std", ())
    if set(found) != {"mean", "std"} or not mean or len(mean) != len(std):
        raise UsageError(
            "normalisation is a mean and a std of one length, a number a channel: found "
            + (", ".join(f"{name} {list(values)}" for name, values in found.items()))
        )
    if not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise UsageError(
            f"normalisation needs finite numbers, and a std above 0: found mean {list(mean)}, "
            f"std {list(std)}"
        )
    return found
