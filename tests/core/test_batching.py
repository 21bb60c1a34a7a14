"""Batches of data, wherever it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import ticketkit
from ticketkit.batching import PIXELS, batches_of, sample_of


class Samples(Dataset[Any]):
    """A data set in memory."""

    def __init__(self, count: int) -> None:
        self.pictures, self.labels = torch.arange(count)[:, None] / 10, torch.arange(count)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.pictures[index], int(self.labels[index])


class Stacked(Samples):
    """One whose batches need no stacking."""

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.pictures[indices], self.labels[indices]


class Stream(IterableDataset[Any]):
    """A data set that yields batches, and happens to know how many."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[Any]:
        whole = Stacked(7)
        yield whole.__getitems__([0, 1, 2])
        yield whole.__getitems__([3, 4, 5, 6])


class Broken(Samples):
    """One of its samples cannot be read."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index == 4:
            raise OSError("cannot open 4.png")
        return super().__getitem__(index)


SOURCES: dict[str, Any] = {
    "stacked": Stacked(7),
    "one by one": Samples(7),
    "a subset of stacked ones": Subset(Stacked(9), range(7)),
    "a subset of single ones": Subset(Samples(9), range(7)),
    "a loader": DataLoader(Samples(7), 3),
    "a stream": Stream(),
    "a list of batches": list(Stream()),
}


@pytest.mark.parametrize("source", SOURCES)
def test_all_data_arrives_once_and_in_order(source: str) -> None:
    found = list(batches_of(SOURCES[source], 3))
    inputs, targets = (torch.cat(both) for both in zip(*found, strict=True))
    assert torch.equal(inputs, Stacked(7).pictures)
    assert torch.equal(targets, Stacked(7).labels)


@given(st.integers(1, 60), st.integers(1, 20))
def test_batches_of_a_data_set_are_near_equal_and_as_few_as_fit(count: int, size: int) -> None:
    sizes = [len(inputs) for inputs, _ in batches_of(Stacked(count), size)]
    assert sum(sizes) == count
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert (len(sizes) - 1) * size < count


@given(st.integers(2, 60), st.integers(2, 20))
def test_where_two_are_asked_for_no_sample_is_alone(count: int, size: int) -> None:
    sizes = [len(inputs) for inputs, _ in batches_of(Stacked(count), size, least=2)]
    assert sum(sizes) == count
    assert min(sizes) >= 2
    assert max(sizes) <= max(size, 3)


@pytest.mark.parametrize("empty", [Stacked(0), [], iter(()), [Stacked(2).__getitems__([])]])
def test_no_data_is_told(empty: Any) -> None:
    with pytest.raises(ticketkit.EvaluationError, match="there is no data"):
        list(batches_of(empty, 3))


class Picky(Stacked):
    """Tells by itself what is wrong with it."""

    def __getitems__(self, indices: list[int]) -> Any:
        raise ticketkit.InputError("digits.csv is gone")


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    [
        (3, ticketkit.UsageError, "data is a data set or an iterable .* found int"),
        (torch.ones(3, 2), ticketkit.UsageError, "found Tensor"),
        ([torch.ones(3)], ticketkit.UsageError, "batch 1: expected a pair .* found a Tensor"),
        ([([1.0], [2])], ticketkit.UsageError, r"inputs are tensors, \(batch, ...\), found list"),
        ([(torch.tensor(1.0), 2)], ticketkit.UsageError, "inputs are tensors"),
        (Broken(7), ticketkit.InputError, "samples 4 to 6 failed: OSError: cannot open 4.png"),
        (Picky(7), ticketkit.InputError, "^digits.csv is gone$"),
        (map(Broken(7).__getitem__, [4]), ticketkit.InputError, "batches failed: OSError"),
    ],
)
def test_data_that_is_none_is_told(data: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        list(batches_of(data, 4))


class Odd(Samples):
    """Pictures of which two neighbours have one shape."""

    def __getitem__(self, index: int) -> Any:
        return torch.full((1, 2 + index // 2, 3), index), index


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_neighbours_of_one_shape_are_a_batch_and_none_is_lost(size: int) -> None:
    found = list(batches_of(Odd(7), size))
    assert torch.cat([targets for _, targets in found]).tolist() == list(range(7))
    assert all(len(inputs) <= min(size, 2) for inputs, _ in found)
    assert size == 1 or max(len(inputs) for inputs, _ in found) == 2
    for inputs, targets in found:
        assert inputs[:, 0, 0, 0].tolist() == targets.tolist()


def test_large_pictures_come_in_small_batches() -> None:
    large = torch.utils.data.TensorDataset(torch.zeros(9, 1, 1024, 1024), torch.arange(9))
    sizes = [len(inputs) for inputs, _ in batches_of(large, 256)]
    assert sizes == [3, 3, 3]  # of 4 at most
    assert max(sizes) * 1024 * 1024 <= PIXELS
    assert [len(inputs) for inputs, _ in batches_of(large, 2)] == [2, 2, 2, 2, 1]


def test_large_pictures_behind_a_small_one_come_in_small_batches_too() -> None:
    class Growing(Samples):
        def __getitem__(self, index: int) -> Any:
            return torch.zeros(1, *((1024, 1024) if index else (8, 8))), index

    found = list(batches_of(Growing(10), 256, least=2))
    assert [len(inputs) for inputs, _ in found] == [1, 3, 3, 3]
    assert torch.cat([targets for _, targets in found]).tolist() == list(range(10))


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ticketkit.UsageError, match="one sample or more, found 0"):
        list(batches_of(Stacked(3), 0))


def test_a_sample_is_the_same_for_everyone_and_not_the_first_ones() -> None:
    data = TensorDataset(torch.arange(100), torch.arange(100))
    one, other = (sample_of(data, 10) for _ in range(2))
    found = [int(item[0]) for item in one]  # type: ignore[attr-defined]
    assert found == [int(item[0]) for item in other]  # type: ignore[attr-defined]
    assert len(set(found)) == 10
    assert sorted(found) != list(range(10))
    larger = [int(item[0]) for item in sample_of(data, 20)]  # type: ignore[attr-defined]
    assert larger[:10] == found
    assert sample_of(data, None) is sample_of(data, 100) is sample_of(data, 999) is data


def test_a_sample_of_batches_or_of_nothing_is_refused() -> None:
    with pytest.raises(ticketkit.UsageError, match="a sample is taken of a data set, found list"):
        sample_of([], 3)  # type: ignore[arg-type]
    with pytest.raises(ticketkit.UsageError, match="a sample has one picture or more, found 0"):
        sample_of(TensorDataset(torch.arange(3)), 0)
