"""Networks with random weights, from a spec; and which of them segment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ticketkit.architectures import architecture_of, of_torchvision
from ticketkit.channels import fit_channels
from ticketkit.errors import TicketkitError, UsageError, is_stop, printable
from ticketkit.heads import check_count, replace_head
from ticketkit.modes import seeded
from ticketkit.resnets import BLOCKS


def network_of(arch: str, classes: int, channels: int = 3, seed: int = 0) -> nn.Module:
    """A network for so many classes and pictures of so many channels; nothing is downloaded.

    Its weights are a function of the seed. Pictures of one channel are repeated for a network of
    three. Where its own output holds more than one tensor, such as a segmenter's, it returns the
    one of the task. Raises a `UsageError` for a spec without meaning, and for what fails to build.
    """
    check_count("classes", classes)
    check_count("channels", channels)
    architecture = architecture_of(arch)
    with seeded(seed):
        try:
            model = architecture.build(classes, channels)
        except TicketkitError:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            reason = printable(f"{type(error).__name__}: {error}")
            raise UsageError(f"{printable(repr(arch))} failed to build: {reason}") from error
    if not architecture.any_classes:
        replace_head(model, classes, seed)
    fit_channels(model, channels, arch)
    model.register_forward_hook(_task_alone)
    return model


def is_segmenter(arch: str) -> bool | None:
    """Whether a spec's network tells a class for each pixel; None for a callable's."""
    return architecture_of(arch).segmenter


def segmenter_of(arch: str) -> str:
    """The segmenter whose backbone a classifier is; a segmenter stands for itself.

    Raises a `UsageError` for a classifier that is no such backbone.
    """
    if architecture_of(arch).segmenter:
        return arch
    if (theirs := f"deeplabv3_{arch}") in of_torchvision()[1]:
        return theirs
    if arch.partition(":")[0] in BLOCKS:
        return f"fcn_{arch}"
    raise UsageError(
        f"no segmenter has {printable(repr(arch))} as its backbone: give one with --arch, such as "
        "--arch deeplabv3_resnet50"
    )


def of_kind(arch: str, *, segmentation: bool) -> str:
    """The spec, or for segmentation the segmenter whose backbone it is; a callable's stands.

    Raises a `UsageError` for a segmenter where the task is none.
    """
    kind = is_segmenter(arch)
    if segmentation and kind is False:
        return segmenter_of(arch)
    if kind and not segmentation:
        raise UsageError(f"{printable(repr(arch))} is a segmenter, and the task is none")
    return arch


def _task_alone(model: nn.Module, inputs: Any, output: Any) -> Any:
    """A forward hook that leaves names and state-dict keys alone: a segmenter's `out`, and the
    `logits` of networks that have auxiliary ones beside them."""
    if isinstance(output, Mapping) and "out" in output:
        return output["out"]
    return output if isinstance(output, torch.Tensor) else getattr(output, "logits", output)
