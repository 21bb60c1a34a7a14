"""What can go wrong in one step of a training, and how it is told."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch

from ticketkit.distributed import connected
from ticketkit.errors import (
    InputError,
    TicketkitError,
    TrainingError,
    UsageError,
    is_out_of_memory,
    printable,
)
from ticketkit.losses import check_scalar
from ticketkit.saver import Position

_ONE_PICTURE = "Expected more than 1 value per channel"


@contextlib.contextmanager
def told(position: Position) -> Iterator[None]:
    """Tell what a network or a loss does not take, and where memory ends."""
    where = f"batch {position.batch + 1} of epoch {position.epoch + 1}"
    try:
        with connected():
            yield
    except TicketkitError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise TrainingError(
                f"{where}: out of memory; try a smaller batch, such as --fit small:batch=16"
            ) from error
        if _ONE_PICTURE in str(error):
            raise InputError(
                f"{where}: BatchNorm needs two or more pictures in a batch: give more data, a "
                "larger batch, or batchnorm=eval"
            ) from error
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise UsageError(f"{where}: the network or the loss failed: {reason}") from error


def check_inputs(found: object, inputs: torch.Tensor) -> None:
    """Refuse what a robustifier may not make of its inputs."""
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"it made a {type(found).__name__} of a batch")
    if (found.shape, found.dtype) != (inputs.shape, inputs.dtype):
        raise ValueError(
            f"it made {list(found.shape)} {found.dtype} of {list(inputs.shape)} {inputs.dtype}"
        )
    if not torch.isfinite(found.detach()).all():
        raise ValueError("it made inputs that are NaN or infinite")


def check_loss(loss: Any, position: Position, rate: float, left: str) -> None:
    check_scalar(loss)
    if not math.isfinite(value := float(loss.detach())):
        raise TrainingError(
            f"the loss is {value} at batch {position.batch + 1} of epoch {position.epoch + 1}, at "
            f"learning rate {rate:.3g}: a lower one may do; {left}"
        )
