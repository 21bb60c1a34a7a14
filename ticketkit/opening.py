"""A live network from a checkpoint, of the architecture that is asked for or its file tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ticketkit.architectures import OfCallable, architecture_of
from ticketkit.channels import fit_channels
from ticketkit.checkpoint import Checkpoint
from ticketkit.errors import CheckpointError, UsageError, printable
from ticketkit.networks import network_of, of_kind
from ticketkit.normalising import normalised
from ticketkit.transplanting import Loaded, load_into


@dataclass(frozen=True)
class Opened:
    """A network with a checkpoint's weights."""

    model: nn.Module
    arch: str
    """The spec that it was built from."""
    loaded: Loaded


def network_for(
    checkpoint: Checkpoint,
    arch: str | None,
    classes: int,
    channels: int = 3,
    seed: int = 0,
    *,
    segmentation: bool = False,
    skip_head: bool = False,
) -> Opened:
    """A network for a task, with the weights and the normalisation of a checkpoint.

    Without `arch` the file's metadata tells the architecture; for segmentation a classifier becomes
    the backbone of its segmenter. `skip_head` leaves the head as it is initialised from the seed.
    Raises a `UsageError` where no architecture is known or it is of the wrong kind, a
    `MismatchError` where the weights do not fit.
    """
    chosen = arch_for(checkpoint, arch, segmentation=segmentation)
    built = channels
    if architecture_of(chosen).any_channels:  # its first layer is that of the checkpoint
        built = _channels_in(checkpoint) or channels
    model = network_of(chosen, classes, built, seed)
    if built != channels:
        fit_channels(model, channels, chosen)
    loaded = load_into(model, checkpoint, skip_head=skip_head)
    try:
        normalised(model, **checkpoint.normalisation())
    except UsageError as error:  # which is the file's, not the user's
        raise CheckpointError(f"{printable(str(checkpoint.path))}: {error}") from None
    return Opened(model, chosen, loaded)


def arch_for(checkpoint: Checkpoint, arch: str | None, *, segmentation: bool) -> str:
    """The spec asked for, or else the one in the file's metadata; of the kind that a task needs."""
    told = checkpoint.pretraining
    if arch is None and told is None:
        raise UsageError(
            f"{printable(str(checkpoint.path))} does not tell what network it is of: give it with "
            "--arch, such as --arch resnet50"
        )
    if arch is not None or told is None:
        return of_kind(str(arch), segmentation=segmentation)
    if isinstance(architecture_of(told.arch), OfCallable):
        raise UsageError(told_by_code(checkpoint.path, "arch", told.arch))
    return of_kind(told.arch, segmentation=segmentation)


def told_by_code(path: Path, option: str, spec: str) -> str:
    """Why a file's word is not enough: nobody's checkpoint may choose what is run here."""
    return (
        f"{printable(str(path))} tells of code, {printable(spec)!r}, which no file may run: give "
        f"it with --{option} if you trust it"
    )


def _channels_in(checkpoint: Checkpoint) -> int | None:
    """How many channels the first layer of a ResNet's checkpoint takes."""
    names = ("conv1.weight", "backbone.conv1.weight")
    shapes = (checkpoint.shapes[name] for name in names if name in checkpoint)
    return next((shape[1] for shape in shapes if len(shape) == 4 and shape[1] > 0), None)
