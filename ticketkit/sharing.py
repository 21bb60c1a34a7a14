"""What many processes give one another, and agree on. One process alone agrees with itself.

All of them have to make the same calls in the same order; a `TrainingError` where one is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ticketkit.distributed import connected, meet, world
from ticketkit.errors import TicketkitError, TrainingError, printable, some
from ticketkit.runrecord import differences

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


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
        error if ours else TrainingError(f"the leading process failed: {printable(repr(error))}")
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

    every: list[Any] = [None] * world().size
    with connected():
        dist.all_gather_object(every, found)
    if odd := [
        f"{name or 'it'} is {first} in process 0 and {other} in process {rank}"
        for rank, each in enumerate(every)
        for name, first, other in differences(every[0], each)
    ]:
        raise TrainingError(f"the processes disagree on {what}: {some(odd)}")
