"""What a ticket is, as plain data: what `--json` prints and the tables are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from ticketkit.bits import BlockBits
from ticketkit.checkpoint import Checkpoint
from ticketkit.files import sha256
from ticketkit.mask import Mask
from ticketkit.pretrained import Pretraining
from ticketkit.prunable import natural
from ticketkit.rice import RiceRow
from ticketkit.tensorfile import DTYPES
from ticketkit.ticket import Ticket


def ticket_document(ticket: Ticket) -> dict[str, Any]:
    """A ticket's parts, sparsity, layers and provenance."""
    told = _told(ticket)
    provenance = told.pop("provenance")
    layers = [_layer(ticket, name) for name in sorted(ticket.mask, key=natural)]
    return {**told, "layers": layers, "provenance": provenance}


def ticket_origin(ticket: Ticket) -> dict[str, Any]:
    """What results and transferred weights tell of their ticket: its digest, but no layers."""
    return {"sha256": sha256(ticket.encoded()), **_told(ticket)}


def origin_document(told: Pretraining | None) -> dict[str, Any]:
    """Where a network came from, as its file tells: from which ticket, of what, and how."""
    if told is None or (lineage := told.lineage) is None:
        return {"ticket": None, "source": told and asdict(told), "mode": None, "transfer": None}
    return {
        "ticket": lineage.ticket,
        "source": lineage.source and asdict(lineage.source),
        "mode": lineage.mode,
        "transfer": asdict(replace(told, lineage=None)),
    }


def _told(ticket: Ticket) -> dict[str, Any]:
    provenance = ticket.provenance
    return {
        "parts": {
            "scheme": provenance.scheme,
            "criterion": provenance.criterion,
            "allocation": provenance.allocation,
            "strategy": provenance.strategy,
        },
        "sparsity": {"requested": provenance.sparsity, "reached": ticket.reached()},
        "counts": {**vars(ticket.counts), "kept": ticket.mask.kept, "removed": ticket.removed},
        "provenance": {
            "seed": provenance.seed,
            "include": list(provenance.include),
            "exclude": list(provenance.exclude),
            "allow_empty_layers": provenance.allow_empty_layers,
            "source_sha256": provenance.source,
            "normalisation": {n: list(values) for n, values in provenance.normalisation.items()},
            "task": provenance.task,
            "fit": provenance.fit,
            "robustifier": provenance.robustifier,
            "arch": provenance.arch,
            "head": provenance.head,
            "made_by": ticket.made_by,
            "versions": dict(provenance.versions),
        },
    }


def file_document(ticket: Ticket) -> dict[str, Any]:
    """How a ticket that was read is stored: its encoding, and the values that it carries."""
    coded = [n for n in ticket.mask if isinstance(ticket.mask.packed(n).row, RiceRow)]
    return {
        "encoding": "rice" if coded else "packed",
        "coded_layers": len(coded),
        "values": values_document(ticket),
    }


def values_document(ticket: Ticket) -> dict[str, Any] | None:
    """The dtypes and bytes of a ticket's values; None where it carries none."""
    if not ticket.values:
        return None
    values = ticket.values.values()
    dtypes = sorted({DTYPES[each.dtype] for each in values})
    return {"dtypes": dtypes, "bytes": sum(each.nbytes for each in values)}


def matched(ticket: Ticket, mask: Mask) -> dict[str, int]:
    """How many of a ticket's parameters a checkpoint has, of which `mask` is the mask on it."""
    return {"matched": sum(name in mask for name in ticket.mask), "masked": len(ticket.mask)}


def _layer(ticket: Ticket, name: str) -> dict[str, Any]:
    packed = ticket.mask.packed(name)
    kept = packed.kept
    layer = {
        "name": name,
        "shape": list(packed.shape),
        "weights": packed.size,
        "kept": kept,
        "sparsity": 1 - kept / packed.size if packed.size else 0.0,
    }
    if isinstance(packed, BlockBits):
        layer["block"] = list(packed.block)
    if name in ticket.aliases:
        layer["tied"] = list(ticket.aliases[name])
    return layer


def notes_on(ticket: Ticket) -> list[str]:
    """What a reader of the ticket should know, a sentence each."""
    return [*_single_weights(ticket), *_output_axis(ticket), *_tied(ticket)]


def _single_weights(ticket: Ticket) -> list[str]:
    """Where the scheme's blocks are single weights although elsewhere they are not."""
    blocks = {n: b for n in ticket.mask if isinstance(b := ticket.mask.packed(n), BlockBits)}
    single = [name for name, packed in blocks.items() if packed.tiling.size == 1]
    if not single or len(single) == len(blocks):
        return []
    share = sum(blocks[name].size for name in single) / max(1, ticket.mask.size)
    return [
        f"in {len(single)} of {len(blocks)} layers ({share:.1%} of the prunable weights: 1x1 "
        f"convolutions, linear layers) a block of scheme {ticket.provenance.scheme} is one weight"
    ]


def _output_axis(ticket: Ticket) -> list[str]:
    """Where a draw from a file had to take the first axis of a convolution for its outputs."""
    told = ticket.provenance
    if told.source is None or told.task is not None:  # which a network was opened for
        return []
    for name in ticket.mask:
        packed = ticket.mask.packed(name)
        if isinstance(packed, BlockBits) and len(packed.shape) > 2:
            outputs, inputs = packed.block[:2]
            if (outputs, inputs) != (1, 1):
                return [
                    "a file does not tell transposed convolutions apart: the first axis of every "
                    "weight was taken for its outputs"
                ]
    return []


def _tied(ticket: Ticket) -> list[str]:
    pairs = [f"{name} = {' = '.join(others)}" for name, others in ticket.aliases.items()]
    return [f"tied, counted and masked once: {pair}" for pair in pairs]


def of_normalisation(checkpoint: Checkpoint) -> list[str]:
    """A note on the numbers by which the file says that inputs are normalised."""
    if not (normalisation := checkpoint.normalisation()):
        return []
    shown = ", ".join(f"{what} {_numbers(values)}" for what, values in normalisation.items())
    return [f"the network's inputs, in [0, 1], are normalised by the file's own {shown}"]


def without_normalisation(checkpoint: Checkpoint) -> list[str]:
    """A note on a file that does not tell how inputs are normalised, or whether they are."""
    if checkpoint.pretraining is not None or checkpoint.normalisation():
        return []
    return [f"{checkpoint.path} tells no normalisation of the network's inputs: none is applied"]


def _numbers(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
