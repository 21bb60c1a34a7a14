"""The machine that trains: which device, and what its bits depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ticketkit.distributed import local_rank
from ticketkit.errors import UsageError, printable


def device_of(name: str) -> torch.device:
    """The device of this name; `"auto"` is the accelerator that is there, or the CPU.

    Of many processes on one machine each takes a device of its own. A `UsageError` tells what is
    there where the one that was asked for is not.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        name = "cpu" if found is None else found.type
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"no device {printable(name)!r}; found {_there()}") from None
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.accelerator.device_count() if found and found.type == device.type else 0
    index = device.index if device.index is not None else local_rank() % max(1, count)
    if index >= count:
        raise UsageError(f"device {printable(name)!r} was asked for; found {_there()}")
    return torch.device(device.type, index)


def environment(device: torch.device) -> dict[str, Any]:
    """What the bits of a training depend on, beside its recipe."""
    return {
        "device": device.type,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,  # type: ignore[no-untyped-call]
    }


def _there() -> str:
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return "the CPU alone (torch sees no accelerator)"
    return f"cpu and {torch.accelerator.device_count()} of {found.type}"
