"""The channels of the pictures that a network takes."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ticketkit.errors import UsageError, printable

# A first layer that takes more channels sees no pictures.
_MOST = 4


def channels_of(model: nn.Module) -> int | None:
    """How many channels a network's first convolution takes; None where no layer tells."""
    convolutions = (m for m in model.modules() if isinstance(m, _ConvNd))
    first = next(convolutions, None)
    if first is None or isinstance(first, _ConvTransposeNd) or first.in_channels > _MOST:
        return None
    return int(first.in_channels)


def fit_channels(model: nn.Module, channels: int, arch: str) -> None:
    """Let a network take pictures of so many channels.

    One channel is repeated for a network of three; any other difference is a `UsageError`.
    """
    taken = channels_of(model)
    if taken in (None, channels):
        return
    if (channels, taken) != (1, 3):
        raise UsageError(
            f"{printable(arch)} takes pictures of {taken} channels, and these have {channels}"
        )
    model.register_forward_pre_hook(_repeated)


def _repeated(model: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Pictures of one channel, (batch, 1, height, width), with that three times."""
    pictures, *others = arguments
    return (pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures, *others)
