"""Many processes, one training: what torchrun started, how they join, and how they leave."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ticketkit.errors import Stopped, TrainingError, UsageError, printable

if TYPE_CHECKING:
    import torch

# The others wait while the leading process reads data or measures, which may take hours. One that
# ends is noticed at once all the same: its connections close.
_PATIENCE = timedelta(days=1)


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


def whole_world() -> World:
    """`world`; a `UsageError` where torchrun started more processes than have joined.

    Each of them would train on all of the data, as if it were alone.
    """
    found, asked = world(), os.environ.get("WORLD_SIZE", "1")
    if asked != str(found.size):
        raise UsageError(
            f"torchrun asked for {printable(asked)} processes, {found.size} is there: call "
            "torch.distributed.init_process_group first"
        )
    return found


def leads() -> bool:
    """Whether this process is torchrun's first, or the only one: it writes and prints."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


def local_rank() -> int:
    """Which of torchrun's processes on this machine this is."""
    found = os.environ.get("LOCAL_RANK", "0")
    return int(found) if found.isdecimal() else 0


@contextlib.contextmanager
def session(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started, if it did, for the time of the block.

    All leave together when the block ends, or was `Stopped`, as they stop after the same step. One
    that fails leaves alone: the others notice, and torchrun ends them.
    """
    import torch
    import torch.distributed as dist

    if "WORLD_SIZE" not in os.environ or (dist.is_available() and dist.is_initialized()):
        yield whole_world()
        return
    if device.index is not None:
        torch.accelerator.set_device_index(device.index)  # of this thread; that of joining has one
    _join(device)
    stopped = None
    try:
        with connected():
            yield whole_world()
    except Stopped as error:
        stopped = error
    meet()
    gc.collect()  # what still holds the group keeps its threads, and the process would abort
    dist.destroy_process_group()
    if stopped is not None:
        raise stopped


def _join(device: torch.device) -> None:
    """Join the group, in a thread: so a signal is heeded while others are waited for."""
    import torch
    import torch.distributed as dist

    failures: list[Exception] = []

    def join() -> None:
        try:
            if device.index is not None:
                torch.accelerator.set_device_index(device.index)
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
        except Exception as error:  # noqa: BLE001  raised again by who waits
            failures.append(error)

    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    thread.join()
    if failures:
        reason = printable(str(failures[0]).partition("\n")[0])
        raise UsageError(f"the processes of torchrun cannot be joined: {reason}") from failures[0]


def leave(status: int) -> None:
    """End a process that failed at once, if it is one of many: the others may be told no sooner.

    The ordinary end of Python takes seconds, and may abort where the group was not taken down.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        os._exit(status)


@contextlib.contextmanager
def connected() -> Iterator[None]:
    """A block in which processes talk: a `TrainingError` where one of them is gone."""
    try:
        yield
    except RuntimeError as error:
        from torch.distributed import DistError

        if not isinstance(error, DistError) and "/gloo/" not in str(error):
            raise
        raise TrainingError(
            "another process has ended, or the connection to it was lost; --resume goes on from "
            "what was saved"
        ) from error


def meet() -> None:
    """Wait until every process is here."""
    if world().size > 1:
        import torch.distributed as dist

        with connected():
            dist.barrier()
