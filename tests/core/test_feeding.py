"""Batches: the same for the same seed, from any place on, in any number of processes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from ticketkit.distributed import World
from ticketkit.errors import InputError, UsageError
from ticketkit.feeding import Feed, LoaderFeed, feed_of
from ticketkit.schedules import Schedule
from ticketkit.stacking import count_of

ONE = World()


def numbers(count: int) -> TensorDataset:
    """Samples that are told apart by their values."""
    values = torch.arange(count)
    return TensorDataset(values.float().reshape(-1, 1, 1, 1), values)


def schedule(batch: int = 4, **fields: Any) -> Schedule:
    return Schedule(epochs=3, batch=batch, **fields)


def targets(feed: Any, epoch: int, start: int = 0) -> list[list[int]]:
    return [batch.targets.tolist() for batch in feed.epoch(epoch, start)]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32))
def test_an_epoch_takes_each_sample_once_in_batches_of_near_equal_size(
    count: int, batch: int, seed: int
) -> None:
    feed = Feed(numbers(count), schedule(batch), seed, ONE)
    found = targets(feed, 1)
    assert sorted(itertools.chain(*found)) == list(range(count))
    assert len(found) == feed.batches == -(-count // batch)
    sizes = [len(each) for each in found]
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


def test_an_epoch_goes_on_from_any_batch() -> None:
    feed = Feed(numbers(30), schedule(augment="shift"), 5, ONE)
    whole = list(feed.epoch(2))
    for start in range(feed.batches + 1):
        rest = list(feed.epoch(2, start))
        assert len(rest) == len(whole) - start
        for ours, theirs in zip(rest, whole[start:], strict=True):
            assert torch.equal(ours.inputs, theirs.inputs)
            assert torch.equal(ours.targets, theirs.targets)


def test_processes_share_each_batch_and_weigh_it_by_their_share() -> None:
    alone = list(Feed(numbers(23), schedule(6), 1, ONE).epoch(0))
    shares = [list(Feed(numbers(23), schedule(6), 1, World(r, 4)).epoch(0)) for r in range(4)]
    for number, whole in enumerate(alone):
        parts = [share[number] for share in shares]
        assert torch.cat([part.targets for part in parts]).tolist() == whole.targets.tolist()
        # The mean over processes of weight x their mean is the mean over the batch.
        means = [part.weight * part.targets.double().mean() for part in parts]
        assert float(sum(means) / 4) == pytest.approx(float(whole.targets.double().mean()))


def test_workers_give_the_same_batches() -> None:
    here = list(Feed(numbers(17), schedule(augment="shift"), 3, ONE).epoch(1))
    there = list(Feed(numbers(17), schedule(augment="shift"), 3, ONE, workers=2).epoch(1))
    for ours, theirs in zip(here, there, strict=True):
        assert torch.equal(ours.inputs, theirs.inputs)


def test_reading_draws_no_number_of_torchs() -> None:
    before = torch.get_rng_state()
    list(Feed(numbers(9), schedule(), 0, ONE).epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


class Stacked(Dataset[Any]):
    """Gives whole batches, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __len__(self) -> int:
        return 10

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        self.asked += 1
        return torch.zeros(len(indices), 1, 2, 2), torch.tensor(indices)


def test_a_set_that_gives_whole_batches_is_asked_once_for_each() -> None:
    data = Stacked()
    assert sorted(itertools.chain(*targets(Feed(data, schedule(5), 0, ONE), 0))) == list(range(10))
    assert data.asked == 2


def test_a_callers_loader_shuffles_by_seed_and_epoch() -> None:
    loader = DataLoader(numbers(12), batch_size=4, shuffle=True)
    feed = LoaderFeed(loader, 1)
    assert feed.batches == 3
    first = targets(feed, 0)
    torch.manual_seed(99)
    assert targets(feed, 0) == first
    assert targets(feed, 1) != first
    assert targets(LoaderFeed(loader, 2), 0) != first


class Breaks(Dataset[Any]):
    """A data set with an item that cannot be read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        if index == 5:
            raise self.error
        return torch.zeros(1, 2, 2), 0


# Fault row 46
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("picture 5, a.png: no such file"), "picture 5, a.png: no such file"),
        (OSError("one\ntwo"), r"the data failed in epoch 1: OSError: one\\ntwo"),
    ],
)
def test_data_that_breaks_is_a_line_from_a_worker_too(
    workers: int, error: Exception, told: str
) -> None:
    feed = Feed(Breaks(error), schedule(), 0, ONE, workers=workers)
    with pytest.raises(InputError, match=f"^{told}$"):
        list(feed.epoch(0))


def test_a_list_of_batches_is_a_loader() -> None:
    batches = [(torch.zeros(2, 1), torch.tensor([0, 1])), (torch.ones(2, 1), torch.tensor([2, 3]))]
    feed = feed_of(batches, schedule(), 0, ONE)
    assert isinstance(feed, LoaderFeed)
    assert targets(feed, 0) == [[0, 1], [2, 3]]
    assert count_of(batches) == 0
    assert count_of(numbers(7)) == 7


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield from ()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (numbers(0), InputError, "the data is empty: at least one picture is needed"),
        ([], InputError, "the data is empty: at least one batch is needed"),
        (iter([]), UsageError, "found list_iterator"),
        (3, UsageError, "found int"),
        (Endless(), UsageError, "a Endless has no length"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(
    data: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        feed_of(data, schedule(), 0, ONE)


def test_a_loader_of_the_callers_own_is_not_augmented_by_us() -> None:
    with pytest.raises(UsageError, match="found augment=shift, workers=0"):
        feed_of([(torch.zeros(1), torch.zeros(1))], schedule(augment="shift"), 0, ONE)


def test_a_loader_that_breaks_its_word_is_told() -> None:
    with pytest.raises(UsageError, match=r"batch 1: expected a pair .* found a Tensor"):
        targets(LoaderFeed([torch.zeros(3)], 0), 0)

    class Short(list[Any]):
        def __len__(self) -> int:
            return 5

    with pytest.raises(InputError, match="5 batches by its length, 1 came"):
        targets(LoaderFeed(Short([(torch.zeros(1), torch.zeros(1))]), 0), 0)


def test_more_processes_than_pictures_in_a_batch_are_refused() -> None:
    with pytest.raises(UsageError, match="4 processes share a batch of 3"):
        Feed(numbers(9), schedule(3), 0, World(0, 4))
