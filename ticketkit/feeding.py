"""What a training is fed: batches whose order and augmentation can be computed, not remembered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ticketkit.augmenting import augmented
from ticketkit.batching import pairs
from ticketkit.distributed import World
from ticketkit.errors import InputError, TicketkitError, UsageError, printable
from ticketkit.modes import all_seeded
from ticketkit.schedules import Schedule
from ticketkit.seeds import Integers, order, seed_of
from ticketkit.stacking import fetched


class Batch(NamedTuple):
    """One step's share of the data."""

    inputs: Any
    targets: Any
    weight: float = 1.0
    """The mean over all processes of `weight * loss` is the mean loss over the whole batch."""


class Feed:
    """Batches of a data set: the same ones for the same seed, from any place on.

    The order is a function of (seed, epoch), and a sample's augmentation of (seed, epoch, index).
    Batches of an epoch differ by one picture at most, so that none is left with a single one.
    """

    seeks = True
    """Whether an epoch can be begun in its middle."""

    def __init__(
        self, data: Dataset[Any], schedule: Schedule, seed: int, world: World, workers: int = 0
    ) -> None:
        self._data = data
        self._schedule = schedule
        self._seed = seed
        self._world = world
        self._workers = workers
        self.count = _length(data)
        self.batches = -(-self.count // schedule.batch)
        """Batches of an epoch."""
        smallest = self.count // self.batches
        if smallest < world.size:
            raise UsageError(
                f"{world.size} processes share a batch of {smallest}: at least one picture each is "
                "needed"
            )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from the `start`-th on."""
        whole = np.array_split(order(self._seed, epoch, self.count), self.batches)[start:]
        size = self._world.size
        ours = [np.array_split(batch, size)[self._world.rank] for batch in whole]
        loader = DataLoader(
            _Augmented(self._data, self._schedule, self._seed, epoch),
            batch_sampler=ours,  # type: ignore[arg-type]
            collate_fn=_as_it_is,
            num_workers=self._workers,
            generator=torch.Generator().manual_seed(0),  # or it would draw from the global one
        )
        for found, part, batch in zip(loader, ours, whole, strict=True):
            if isinstance(found, TicketkitError):
                raise found
            inputs, targets = found
            yield Batch(inputs, targets, len(part) * size / len(batch))


class LoaderFeed:
    """Batches of a loader of the caller's own: (inputs, targets) each."""

    seeks = False

    def __init__(self, loader: Iterable[Any], seed: int) -> None:
        if not isinstance(loader, Sized) or not isinstance(loader, Iterable):
            kind = type(loader).__name__
            raise UsageError(
                "data is a torch Dataset, or an iterable of (inputs, targets) with a length, such "
                f"as a DataLoader; found {kind}"
            )
        self._loader = loader
        self._seed = seed
        self.batches = len(loader)
        if not self.batches:
            raise InputError("the data is empty: at least one batch is needed")

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch; a loader that shuffles by torch's generator is seeded for it."""
        torch.manual_seed(seed_of(self._seed, "loader", epoch))
        sampler = getattr(self._loader, "sampler", None)
        if sampler is not None and hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)  # it shares the data between processes
        count = 0
        for inputs, targets in pairs(self._loader):
            count += 1
            yield Batch(inputs, targets)
        if count != self.batches:
            raise InputError(f"the data has {self.batches} batches by its length, {count} came")


def feed_of(
    data: Any, schedule: Schedule, seed: int, world: World, workers: int = 0
) -> Feed | LoaderFeed:
    """The feed that a data set or a loader is."""
    if isinstance(data, Dataset):
        return Feed(data, schedule, seed, world, workers)
    if schedule.augment != "none" or workers:
        raise UsageError(
            "a loader of your own augments, and has workers, by itself: give a torch Dataset, or a "
            f"schedule with augment=none; found augment={schedule.augment}, workers={workers}"
        )
    return LoaderFeed(data, seed)


class _Augmented(Dataset[Any]):
    """The data of one epoch, augmented batch by batch."""

    def __init__(self, data: Dataset[Any], schedule: Schedule, seed: int, epoch: int) -> None:
        self._data, self._schedule, self._where = data, schedule, (seed, epoch)

    def __getitems__(self, indices: Integers) -> tuple[Any, Any] | TicketkitError:
        """A batch; or what is wrong with it, as torch would tell what a worker raises by pages."""
        seed, epoch = self._where
        try:
            # Transforms of the data's own may draw lots.
            with all_seeded(seed_of(seed, "data", epoch, *map(int, indices[:1]))):
                samples = fetched(self._data, indices)
            return augmented(samples, self._schedule, seed, epoch, indices)
        except TicketkitError as error:
            return error
        except Exception as error:  # noqa: BLE001  raised where the batch is used
            reason = f"{type(error).__name__}: {printable(str(error))}"
            return InputError(f"the data failed in epoch {epoch + 1}: {reason}")


def _as_it_is(batch: Any) -> Any:
    return batch


def _length(data: Dataset[Any]) -> int:
    if not isinstance(data, Sized):
        raise UsageError(f"a {type(data).__name__} has no length: give a map-style data set")
    if not len(data):
        raise InputError("the data is empty: at least one picture is needed")
    return len(data)
