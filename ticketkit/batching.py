"""Batches of data, wherever it comes from: a data set, a loader, a list of batches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Subset

from ticketkit.errors import (
    EvaluationError,
    InputError,
    TicketkitError,
    UsageError,
    is_out_of_memory,
    printable,
)
from ticketkit.seeds import order
from ticketkit.stacking import fetched, stacked

if TYPE_CHECKING:
    from ticketkit.parts import Batches, Dataset

Batch = tuple[torch.Tensor, Any]


def pairs(batches: Batches) -> Iterator[tuple[Any, Any]]:
    """Each batch of an iterable, checked to be a pair (inputs, targets)."""
    for count, batch in enumerate(_read(batches), 1):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            kind = type(batch).__name__
            size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
            raise UsageError(
                f"batch {count}: expected a pair (inputs, targets), found a {kind}{size}"
            )
        yield batch[0], batch[1]


PIXELS = 2**22
"""How many pixels the pictures of a batch of a data set have at most, unless one alone has more."""


def batches_of(data: Dataset | Batches, size: int, least: int = 1) -> Iterator[Batch]:
    """Batches (inputs, targets) of a map-style data set, in order, or those that `data` yields.

    A data set's batches are of near-equal size, `size` at most, fewer where pictures are large, and
    `least` at least, unless it is smaller or there is no such size; where pictures differ in shape,
    neighbours of one shape are a batch. EvaluationError where there is no data at all,
    InputError where it cannot be read.
    """
    if size < 1:
        raise UsageError(f"a batch has one sample or more, found {size}")
    empty = True
    for inputs, targets in _of_set(data, size, least) if _is_set(data) else pairs(_iterable(data)):
        if not isinstance(inputs, torch.Tensor) or not inputs.dim():
            raise UsageError(f"inputs are tensors, (batch, ...), found {type(inputs).__name__}")
        if len(inputs):
            empty = False
            yield inputs, targets
    if empty:
        raise EvaluationError("there is no data: at least one sample is needed")


def sample_of(data: Dataset, count: int | None, seed: int = 0) -> Dataset:
    """`count` samples of a data set, the same for every network, in an order of their own.

    Data may be sorted by class, so its first ones would not do. The set as it is for None, or where
    it has no more.
    """
    if not _is_set(data):
        kind = type(data).__name__
        raise UsageError(
            f"a sample is taken of a data set, found {kind}: give a torch Dataset, not batches"
        )
    length = len(data)  # type: ignore[arg-type]
    if count is None or count >= length:
        return data
    if count < 1:
        raise UsageError(f"a sample has one picture or more, found {count}")
    return Subset(data, order(seed, 0, length)[:count].tolist())


def _is_set(data: object) -> bool:
    """Whether it yields samples by their index; an iterable data set yields what it likes."""
    of_torch = isinstance(data, torch.utils.data.Dataset) and hasattr(data, "__len__")
    return of_torch and not isinstance(data, torch.utils.data.IterableDataset)


def _iterable(data: Any) -> Any:
    if isinstance(data, torch.Tensor) or not isinstance(data, Iterable):
        kind = type(data).__name__
        raise UsageError(f"data is a data set or an iterable of (inputs, targets), found {kind}")
    return data


def _of_set(data: Any, size: int, least: int) -> Iterator[Batch]:
    indices: Sequence[int] = range(len(data))
    first = _stacked(data, indices[:1], size, least) if indices else ()
    for part in _parted(indices, _fitting(first, size), least):
        yield from _stacked(data, part, size, least)


def _stacked(data: Any, indices: Sequence[int], size: int, least: int) -> list[Batch]:
    """The samples at these places: one batch, or some for each run of pictures of one shape."""
    try:
        samples = fetched(data, indices)
        if isinstance(samples, tuple):
            return [stacked(samples)]
        runs = [list(run) for _, run in itertools.groupby(samples, _shape)]
        parts = (_parted(run, _fitting(run, size), least) for run in runs)
        return [stacked(part) for part in itertools.chain(*parts)]
    except TicketkitError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            where = f"samples {indices[0]} to {indices[-1]}"
            raise TicketkitError(f"{where}: out of memory; a smaller batch needs less") from error
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise InputError(f"samples {indices[0]} to {indices[-1]} failed: {reason}") from error


def _parted(items: Sequence[Any], size: int, least: int) -> Iterator[Sequence[Any]]:
    """Near-equal parts, of `size` items at most and of `least` at least where that can be."""
    count = len(items)
    parts = max(1, min(-(-count // size), count // least))
    for places in np.array_split(np.arange(count), parts):
        if len(places):
            yield items[places[0] : places[-1] + 1]


def _fitting(samples: Sequence[Any], size: int) -> int:
    """How many samples like the first of these are a batch: `size`, or what `PIXELS` allow."""
    shape = _shape(samples[0]) if samples else ()
    return max(1, min(size, PIXELS // max(1, math.prod(shape[-2:])))) if len(shape) > 2 else size


def _shape(sample: Any) -> Any:
    return getattr(sample[0], "shape", ())


def _read(batches: Batches) -> Iterator[Any]:
    try:
        yield from batches
    except TicketkitError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise InputError(f"batches failed: {reason}") from error
