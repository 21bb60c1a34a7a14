"""Many processes, one training: what torchrun started, and what they have to agree on."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ticketkit.errors import TrainingError, UsageError, some

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0


def world() -> World:
    """The processes of torch.distributed, where it has been started; this one alone otherwise."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


def leads() -> bool:
    """Whether this process is torchrun's first, or the only one: it writes and prints."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


def local_rank() -> int:
    """Which of torchrun's processes on this machine this is."""
    found = os.environ.get("LOCAL_RANK", "0")
    return int(found) if found.isdecimal() else 0


@contextlib.contextmanager
def session(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started, if it did, for the time of the block."""
    asked = os.environ.get("WORLD_SIZE")
    if asked is None or world().size > 1:
        yield world()
        return
    import torch.distributed as dist

    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    found = world()
    if str(found.size) != asked:
        raise UsageError(f"torchrun asked for {asked} processes, {found.size} are there")
    yield found
    # Only after success: a process that fails leaves at once, and torchrun ends the others.
    dist.barrier()
    gc.collect()  # what still holds the group would keep its threads
    dist.destroy_process_group()


def share(value: Any) -> Any:
    """What the leading process gives, in every process."""
    if world().size == 1:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def share_tensors(tensors: Mapping[str, torch.Tensor]) -> None:
    """Give every process the leading one's values, in place."""
    if world().size == 1:
        return
    import torch.distributed as dist

    for name in sorted(tensors):
        dist.broadcast(tensors[name].detach(), 0)


def highest(number: int, device: torch.device) -> int:
    """The highest of the numbers that the processes give."""
    if world().size == 1:
        return number
    import torch
    import torch.distributed as dist

    box = torch.tensor(number, device=device)
    dist.all_reduce(box, dist.ReduceOp.MAX)
    return int(box)


def agree(what: str, found: str) -> None:
    """Raise a `TrainingError` in every process unless all of them found the same."""
    if world().size == 1:
        return
    import torch.distributed as dist

    every: list[Any] = [None] * world().size
    dist.all_gather_object(every, found)
    odd = [f"process {rank} has {each}" for rank, each in enumerate(every) if each != every[0]]
    if odd:
        raise TrainingError(f"the processes disagree on {what}: {some([every[0], *odd])}")
