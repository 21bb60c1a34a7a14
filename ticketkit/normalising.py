"""Networks that normalise their inputs by themselves, so that attacks act on pictures in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from ticketkit.channels import channels_of
from ticketkit.errors import InputError, UsageError
from ticketkit.mask import unwrap
from ticketkit.pretrained import checked_normalisation

Network = TypeVar("Network", bound=torch.nn.Module)


@dataclass(frozen=True)
class _Normaliser:
    """A forward pre-hook that normalises a network's first argument.

    Its numbers become tensors anew in each call: what is kept between calls would have a device,
    and may have been made in inference mode, of which gradients know nothing.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, model: torch.nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        pictures = self._checked(arguments)
        mean, std = (pictures.new_tensor(each)[:, None, None] for each in (self.mean, self.std))
        return ((pictures - mean) / std, *arguments[1:])

    def _checked(self, arguments: tuple[Any, ...]) -> torch.Tensor:
        pictures = arguments[0] if arguments else None
        if not isinstance(pictures, torch.Tensor) or not pictures.is_floating_point():
            kind = pictures.dtype if isinstance(pictures, torch.Tensor) else type(pictures).__name__
            raise InputError(
                "a normalised network takes floating pictures in [0, 1] as its first argument, "
                f"found {kind}"
            )
        shape = list(pictures.shape)
        # A picture of one channel is normalised for each channel of a network that repeats it.
        if len(shape) < 3 or (len(self.mean) > 1 and shape[-3] not in (1, len(self.mean))):
            raise InputError(
                f"expected pictures (batch, {len(self.mean)}, height, width), found {shape}"
            )
        return pictures


def normalised(model: Network, mean: Sequence[float] = (), std: Sequence[float] = ()) -> Network:
    """Let a network normalise its own inputs: (pictures - mean) / std, a number a channel.

    The network, which is returned, then takes pictures in [0, 1], (batch, channels, height, width).
    Names and state-dict keys stay as they are; copies, pickles, torch.compile and
    DistributedDataParallel keep it. What was said before is replaced; mean 0 and std 1, or nothing,
    takes it off. A `UsageError` for numbers that are not one a channel.
    """
    numbers = checked_normalisation({"mean": mean, "std": std} if mean or std else {})
    inner = unwrap(model)
    taken, given = channels_of(inner), len(numbers.get("mean", ()))
    if given > 1 and taken not in (None, given):
        raise UsageError(f"mean and std of {given} channels, for a network of {taken}")
    hooks = inner._forward_pre_hooks
    for key in [key for key, hook in hooks.items() if isinstance(hook, _Normaliser)]:
        del hooks[key]
    if any(numbers.get("mean", ())) or any(number != 1 for number in numbers.get("std", ())):
        inner.register_forward_pre_hook(_Normaliser(**numbers))
    return model


def normalisation_of(model: torch.nn.Module) -> dict[str, tuple[float, ...]]:
    """The `mean` and `std` by which a network normalises its inputs; empty where it does not."""
    hooks = unwrap(model)._forward_pre_hooks.values()
    found = next((hook for hook in hooks if isinstance(hook, _Normaliser)), None)
    return {"mean": found.mean, "std": found.std} if found else {}
