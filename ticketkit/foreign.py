"""Another tool's mask as a ticket: the work behind `ticketkit import`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

import ticketkit
from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.choices import check_sparsity
from ticketkit.describe import notes_on, ticket_document
from ticketkit.errors import CheckpointError, InputError, UsageError, printable, some
from ticketkit.files import reserve
from ticketkit.maskforms import SCORES, Found, recognised, rewound
from ticketkit.outputs import check_absent, check_files
from ticketkit.prunable import Counts
from ticketkit.pruning import described, of_the_names
from ticketkit.ticket import Provenance, Ticket
from ticketkit.views import View

# Where CV_LTH_Pre-training keeps masks, and the weights to which it rewinds.
_MASKS, _INITIAL = "mask", "init_weight"
_FORMS = (
    "NAME_orig with NAME_mask (torch.nn.utils.prune); NAME_mask alone (CV_LTH_Pre-training); "
    "integers 0 and 1 (open_lth mask.pth); NAME.scores beside NAME.weight (hidden-networks, "
    "Robust-Scratch-Ticket)"
)


def import_mask(
    input_path: Path,
    ticket_path: Path,
    *,
    sparsity: float | None = None,
    checkpoint_key: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Read another tool's mask from a file, write it as a ticket, and return what was done.

    `sparsity`, the fraction removed, is for files that hold scores instead of a mask. With a
    `checkpoint_key` that entry alone is read.
    """
    if sparsity is not None:
        check_sparsity(sparsity)
        if sparsity == 1:
            raise UsageError("sparsity is the fraction removed, in [0, 1); found 1")
    check_files(input_path, None, (ticket_path,))
    check_absent((ticket_path,), force=force)
    with reserve(ticket_path) as place:
        check_absent((ticket_path,), force=force)  # a run may have ended just now
        checkpoint = open_checkpoint(input_path, checkpoint_key, also=(_MASKS,))
        found = _found(checkpoint, sparsity, alone=checkpoint_key is not None)
        ticket = _ticket(found, sparsity)
        ticket.write(place)
    return {
        "schema": "ticketkit.import/1",
        "input": described(checkpoint),
        "form": found.form,
        "ticket": str(ticket_path),
        **ticket_document(ticket),
        "notes": [*of_the_names(checkpoint), *found.notes, *_extremes(ticket), *notes_on(ticket)],
    }


def _found(checkpoint: Checkpoint, sparsity: float | None, *, alone: bool) -> Found:
    path, others = checkpoint.path, [] if alone else checkpoint.others
    entries = {key: open_checkpoint(path, key) for key in (_MASKS, _INITIAL) if key in others}
    try:
        found = recognised(View.of(checkpoint), sparsity)
        if _MASKS in entries:
            found = _agreed(found, recognised(View.of(entries[_MASKS]), sparsity), checkpoint)
        if found is None:
            raise CheckpointError(f"no masks of a form that is read: {_FORMS}; {_told(checkpoint)}")
        if _INITIAL in entries and found.form != SCORES:
            found = rewound(found, View.of(entries[_INITIAL]))
            found.notes.append(f"the weights are those of {_INITIAL!r}, to which a ticket rewinds")
    except InputError as error:
        raise type(error)(f"{printable(str(path))}: {error}") from None
    return found


def _agreed(found: Found | None, masks: Found | None, checkpoint: Checkpoint) -> Found | None:
    """What the weights' entry holds, with the mask of the entry beside it."""
    if masks is None:
        return found
    if found is None:
        return rewound(masks, View.of(checkpoint))
    if masks.mask != found.mask:
        raise CheckpointError(
            f"the masks in {_MASKS!r} and in {checkpoint.key!r} differ; choose one of them with "
            "--checkpoint-key"
        )
    return found


def _told(checkpoint: Checkpoint) -> str:
    names = f"found {len(checkpoint)} tensors, such as {some(checkpoint, 3)}"
    return names + (f"; other entries: {some(checkpoint.others)}" if checkpoint.others else "")


def _ticket(found: Found, sparsity: float | None) -> Ticket:
    strategy = f"import:form={found.form}" + ("" if sparsity is None else f",sparsity={sparsity!r}")
    weights, mask = found.weights, found.mask
    shapes = (mask.shapes if weights is None else weights.parameters(mask)).values()
    provenance = Provenance(
        scheme=found.scheme,
        criterion="unknown",
        allocation="unknown",
        strategy=strategy,
        sparsity=mask.sparsity,
        seed=0,
        source=None if weights is None else weights.digest(),
        versions={"ticketkit": ticketkit.__version__, "torch": str(torch.__version__)},
    )
    counts = Counts(
        mask.size,
        sum(math.prod(shape) for shape in shapes if len(shape) >= 2),
        sum(math.prod(shape) for shape in shapes),
    )
    return Ticket(mask, provenance, counts)


def _extremes(ticket: Ticket) -> list[str]:
    """Notes on layers that are empty or whole, and on what cannot be checked."""
    layers = ticket.mask.layer_sparsity()
    kept = {
        "nothing": [name for name, sparsity in layers.items() if sparsity == 1],
        "every weight": [name for name, sparsity in layers.items() if sparsity == 0],
    }
    notes = [
        f"{len(found)} of {len(layers)} layers keep {what}: {some(found)}"
        for what, found in kept.items()
        if found
    ]
    if ticket.provenance.source is None:
        notes.append("the file holds no weights: 'apply' cannot tell whose weights this mask is of")
    return notes
