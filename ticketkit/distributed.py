"""Many processes, one training: what torchrun started, and what they have to agree on."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ticketkit.errors import Stopped, TicketkitError, TrainingError, UsageError, printable, some

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

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
    import torch.distributed as dist

    if "WORLD_SIZE" not in os.environ or (dist.is_available() and dist.is_initialized()):
        yield whole_world()
        return
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
    """End the process at once if it is still joined with others, which is so after a failure.

    The ordinary end of Python would wait for the others, or abort.
    """
    if world().size > 1:
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


def share(value: T) -> T:
    """What the leading process gives, in every process."""
    if world().size == 1:
        return value
    import torch.distributed as dist

    box = [value]
    with connected():
        dist.broadcast_object_list(box)
    return box[0]


def share_tensors(tensors: Mapping[str, torch.Tensor]) -> None:
    """Give every process the leading one's values, in place."""
    if world().size == 1:
        return
    import torch.distributed as dist

    for name in sorted(tensors):
        tensor = tensors[name].detach()
        values = tensor.contiguous()  # a copy, where channels are last
        with connected():
            dist.broadcast(values, 0)
        if values is not tensor:
            tensor.copy_(values)


def led(work: Callable[[], T]) -> T:
    """What the leading process makes by `work`, in every process; or what it raises, in every one.

    An error that is none of ours is a `TrainingError` in the others.
    """
    if world().size == 1:
        return work()
    made: Any = None
    error: Exception | None = None
    if world().leads:
        try:
            made = work()
        except Exception as failure:  # noqa: BLE001  raised again, once the others know
            error = failure
    ours = error is None or isinstance(error, TicketkitError)
    told: Exception | None = (
        error if ours else TrainingError(f"the leading process failed: {error!r}")
    )
    made, told = share((made, told))
    if error is None:
        error = told
    if error is not None:
        raise error
    found: T = made
    return found


def in_turn(work: Callable[[], T]) -> T:
    """Do `work` in the leading process first, which may write files; then in all others."""
    if not world().leads:
        meet()
        return work()
    made = work()
    meet()
    return made


def gathered(numbers: tuple[float, ...], device: torch.device) -> list[tuple[float, ...]]:
    """The numbers that each process gives, in the order of ranks."""
    if world().size == 1:
        return [numbers]
    import torch
    import torch.distributed as dist

    ours = torch.tensor(numbers, dtype=torch.float64, device=device)
    every = [torch.empty_like(ours) for _ in range(world().size)]
    with connected():
        dist.all_gather(every, ours)
    return [tuple(each.tolist()) for each in every]


def agree(what: str, found: Any) -> None:
    """Raise a `TrainingError` in every process unless all of them found the same, plain data."""
    if world().size == 1:
        return
    import torch.distributed as dist

    from ticketkit.runrecord import differences

    every: list[Any] = [None] * world().size
    with connected():
        dist.all_gather_object(every, found)
    if odd := [
        f"{name or 'it'} is {first} in process 0 and {other} in process {rank}"
        for rank, each in enumerate(every)
        for name, first, other in differences(every[0], each)
    ]:
        raise TrainingError(f"the processes disagree on {what}: {some(odd)}")
