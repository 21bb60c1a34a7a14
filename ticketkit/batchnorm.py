"""BatchNorm's running statistics: a named policy for what becomes of them under other data.

Statistics kept from the source cost a network that was pruned to 0.9 and beyond several points on
another task; estimated again from its pictures, without labels, they cost nothing.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Subset

from ticketkit.batching import batches_of
from ticketkit.errors import InputError, UsageError, some
from ticketkit.inference import evaluated, forward
from ticketkit.mask import unwrap
from ticketkit.modes import modes_kept
from ticketkit.seeds import order
from ticketkit.stacking import count_of

if TYPE_CHECKING:
    from ticketkit.parts import Batches, Dataset


@contextlib.contextmanager
def frozen_statistics(model: torch.nn.Module) -> Iterator[None]:
    """BatchNorm modules are in eval mode while the rest trains; afterwards as they were."""
    norms = tracking(model).values()
    with modes_kept(norms):
        for norm in norms:
            norm.training = False
        yield


def recalibrate(model: torch.nn.Module, data: Dataset | Batches, *, batch: int = 256) -> None:
    """Estimate the running statistics of every BatchNorm again, from pictures without labels.

    They become the mean, over the batches of `data` (see `evaluate`), of each batch's mean and
    unbiased variance, as torch's own with momentum None do; `num_batches_tracked` counts those
    batches. A data set's batches have nearly the same size, `batch` at most and fewer where
    pictures are large, so none has a single picture, which InputError refuses, as pictures of
    different shapes may have. They are in an order of their own, as data may be sorted by class.
    Weights and modes stay; so do all statistics where something fails, and those of a BatchNorm
    that tracks none or is not run.
    """
    if batch < 2:
        raise UsageError(f"BatchNorm needs two or more pictures in a batch, found batch={batch}")
    norms = tracking(model)
    if not norms:
        return
    before = {norm: [(b, b.clone()) for b in norm.buffers()] for norm in norms.values()}
    try:
        with evaluated(model), _cumulative(norms.values()):
            _run(model, data, batch)
        _check_finite(norms)
    except BaseException:
        _restore(itertools.chain(*before.values()))
        raise
    _restore(itertools.chain(*(b for norm, b in before.items() if not norm.num_batches_tracked)))


def tracking(model: torch.nn.Module) -> dict[str, _BatchNorm]:
    """Each BatchNorm that has running statistics, by its name."""
    found = unwrap(model).named_modules()
    norms = {name: module for name, module in found if isinstance(module, _BatchNorm)}
    return {name: norm for name, norm in norms.items() if norm.track_running_stats}


@contextlib.contextmanager
def _cumulative(norms: Collection[_BatchNorm]) -> Iterator[None]:
    """Inside, running statistics begin anew and become the mean over all batches that are seen."""
    momenta = {norm: norm.momentum for norm in norms}
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True
        yield
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum


def _run(model: torch.nn.Module, data: Dataset | Batches, batch: int) -> None:
    first = 0
    if count := count_of(data):
        data = Subset(data, order(0, 0, count).tolist())  # type: ignore[arg-type]
    for inputs, _ in batches_of(data, batch, least=2):
        if len(inputs) < 2:
            others = (
                ", as others differ in shape: give a schedule that crops them, such as paper or "
                "small:augment=crop,size=64"
            )
            raise InputError(
                f"BatchNorm needs two or more pictures in a batch: sample {first} is alone in its "
                f"own{others if count > 1 else ''}"
            )
        forward(model, inputs, first)
        first += len(inputs)


def _check_finite(norms: Mapping[str, _BatchNorm]) -> None:
    bad = [name for name, norm in norms.items() if not all(map(_is_finite, norm.buffers()))]
    if bad:
        raise InputError(f"the statistics of {some(bad)} are NaN or infinite on this data")


def _is_finite(tensor: torch.Tensor) -> bool:
    return bool(tensor.isfinite().all())


def _restore(before: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for buffer, value in before:
        buffer.copy_(value)
