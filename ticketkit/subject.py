"""What is evaluated: a checkpoint's network, with a ticket's zeros, and the pictures of a task."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ticketkit.checkpoint import Checkpoint
from ticketkit.describe import (
    of_normalisation,
    origin_document,
    ticket_origin,
    without_normalisation,
)
from ticketkit.errors import UsageError, WeightsError, printable
from ticketkit.experiments import of_the_set, ready
from ticketkit.imagefiles import ImageFiles
from ticketkit.options import spec_of
from ticketkit.parts import Task
from ticketkit.presets import schedule_of
from ticketkit.ticket import Ticket

if TYPE_CHECKING:
    import torch

    from ticketkit.datasets import Data
    from ticketkit.parts import Dataset

_UNTOLD = 0.01
"""The share of zeros, beside those of a known ticket, from which on a ticket is asked for."""


@dataclass(frozen=True)
class Subject:
    """A network and its test pictures, ready to be measured."""

    model: torch.nn.Module
    test: Dataset
    identity: Mapping[str, Any]
    """What tells it apart from any other: of the task, the network, the ticket and the data."""
    origin: Mapping[str, Any]
    """Where the network came from, as documents tell it."""
    data: Mapping[str, Any]
    """How much data the task has, and its digests."""
    notes: list[str]


def subject_of(
    checkpoint: Checkpoint,
    ticket: Ticket | None,
    task: Task,
    data: Data,
    *,
    arch: str | None,
    crop: int | None,
    verify: bool,
    device: torch.device,
) -> Subject:
    """The network of a checkpoint on a task, without what a ticket removes.

    `crop` is the side of the squares that are cut out of the middle of pictures: 0 for none, None
    for what the network was trained on. A `MismatchError` where the ticket was not drawn from the
    checkpoint, unless `verify` is false.
    """
    from ticketkit.augmenting import cropped
    from ticketkit.opening import network_for

    segmentation, told = task.segmentation, checkpoint.pretraining
    where = printable(str(checkpoint.path))
    opened = network_for(checkpoint, arch, data.classes, data.shape[0], segmentation=segmentation)
    model, digest = ready(opened.model, device), checkpoint.digest()
    if crop is None:
        # As in training, or photographs as usual.
        photographs = "paper" if isinstance(data.test, ImageFiles) else None
        crop = 0 if segmentation else _crop_of(told.fit if told else photographs, where)
    elif segmentation:
        raise UsageError("crop: where each pixel has a class, whole pictures are measured")
    origin = origin_document(told)
    notes = [*_on_training(checkpoint, spec_of(task))]
    if ticket:
        origin["ticket"] = ticket_origin(ticket)
        notes += _masked(model, ticket, digest if verify else None)
    _check_finite(model, where)  # of what the ticket leaves
    notes += _on_untold_zeros(model, origin["ticket"])
    tested = of_the_test(data)
    identity = {
        "task": spec_of(task),
        "arch": opened.arch,
        "checkpoint": digest,
        "bytes": checkpoint.size,
        # Which the digest of the weights does not tell.
        "normalisation": checkpoint.normalisation(),
        "origin": origin,
        "masked": ticket is not None,
        "crop": crop or None,
        "data": tested,
        "packages": _packages(model),
    }
    test = cropped(data.test, crop) if crop else data.test
    told_data = {"train": of_the_set(data.train), "test": tested}
    return Subject(model, test, identity, origin, told_data, notes)


def _check_finite(model: torch.nn.Module, where: str) -> None:
    """Refuse weights and statistics that are not finite by their name: nothing they answer is."""
    for name, weight in (*model.named_parameters(), *model.named_buffers()):
        if bad := int((~weight.isfinite()).sum()):
            raise WeightsError(
                f"{where}: {name}: {bad:,} of {weight.numel():,} weights are NaN or infinite"
            )


def _packages(model: torch.nn.Module) -> dict[str, str]:
    """The version of each package that has modules of the network, where it tells one."""
    tops = {type(module).__module__.partition(".")[0] for module in model.modules()}
    versions = {top: getattr(sys.modules.get(top), "__version__", None) for top in sorted(tops)}
    return {top: str(version) for top, version in versions.items() if version is not None}


def _crop_of(fit: str | None, where: str) -> int:
    """The side of the squares that a schedule tests on; 0 for whole pictures."""
    if fit is None:
        return 0
    try:
        schedule = schedule_of(fit, "finetune")
    except UsageError as error:
        raise UsageError(
            f"{where}: the schedule that it tells is none here, so give --crop PIXELS, 0 for whole "
            f"pictures: {error}"
        ) from error
    return schedule.size or 0 if schedule.augment == "crop" else 0


def of_the_test(data: Data) -> dict[str, Any]:
    """What a recipe says of test pictures: their count and digest, if need be of all samples."""
    told = of_the_set(data.test)
    return {**told, "sha256": told["sha256"] or _digest_of_samples(data.test)}


def _digest_of_samples(data: Dataset) -> str:
    import torch

    from ticketkit.batching import batches_of
    from ticketkit.inference import as_targets
    from ticketkit.progress import stage
    from ticketkit.stacking import count_of

    digest = hashlib.sha256()
    with stage("reading", count_of(data), "pictures") as advance:
        for inputs, targets in batches_of(data, 256):
            for each in (inputs.cpu(), as_targets(targets, torch.device("cpu"))):
                digest.update(f"{each.dtype}\0{list(each.shape)}\0".encode())
                digest.update(each.contiguous().reshape(-1).view(torch.uint8).numpy().data)
            advance(len(inputs))
    return digest.hexdigest()


def _on_training(checkpoint: Checkpoint, here: str) -> Iterator[str]:
    told = checkpoint.pretraining
    if told is None:
        yield from (*of_normalisation(checkpoint), *without_normalisation(checkpoint))
    elif told.task != here:
        yield f"it was trained on {told.task}, and is measured on {here}"


def _masked(model: torch.nn.Module, ticket: Ticket, source: str | None) -> Iterator[str]:
    """Set to zero what a ticket removes; refuse one that has nothing to do with the `source`."""
    from ticketkit.batchnorm import tracking
    from ticketkit.transplanting import mask_of, revived_in

    mask = mask_of(ticket, model)
    left = revived_in(model, mask)
    if left and source is not None:
        ticket.check_source(source)
    mask.apply_(model)
    if left:
        yield f"{left:,} weights that the ticket removes were set to zero"
    if left and tracking(model):
        yield (
            "its BatchNorm statistics are still those of the dense network, which costs a sparse "
            "one much; transfer estimates them anew"
        )


def _on_untold_zeros(model: torch.nn.Module, ticket: Mapping[str, Any] | None) -> Iterator[str]:
    from ticketkit.costs import count_weights

    told = ticket["sparsity"]["reached"]["prunable"] if ticket else 0.0
    found = count_weights(model).sparsity or 0.0
    if found > told + _UNTOLD:
        counted = f"at the {told:.1%} that its ticket removed" if ticket else "as dense"
        yield (
            f"{found:.1%} of its prunable weights are zero: results count it {counted}, unless "
            "--ticket names the ticket"
        )
