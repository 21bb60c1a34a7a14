"""A network in many processes: each trains a copy, by the mean of all their gradients."""

# No annotations of the future here: torch reads those of the hook.
import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ticketkit.distributed import connected, world


@contextlib.contextmanager
def replicated(model: nn.Module) -> Iterator[nn.Module]:
    """The network as one of many in a block; all begin with the leading process's weights."""
    with connected():
        replica = DistributedDataParallel(model)
    if world().size > 2:  # of two numbers the sum is the same in any order
        replica.register_comm_hook(None, _mean)
    with warnings.catch_warnings():
        # Of a kernel with one channel, which the strides of its gradient cannot tell from another.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        yield replica


def _mean(
    _: Any,
    bucket: dist.GradBucket,  # type: ignore[name-defined]  # torch's stubs lack it
) -> torch.futures.Future[torch.Tensor]:
    """The mean over the processes of a bucket of gradients, one parameter at a time.

    In which order a number is summed depends on where it stands in what is reduced. Buckets are
    cut anew after the first step, also of a training that is resumed, which then would end in
    other bits; a parameter always is itself.
    """
    whole = bucket.buffer().div_(world().size)
    works = [dist.all_reduce(each, async_op=True).get_future() for each in bucket.gradients()]
    return torch.futures.collect_all(works).then(lambda _: whole)
