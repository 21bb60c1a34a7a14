"""A data set under attack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import Subset, TensorDataset

import ticketkit
from tests.core import broken
from tests.core.networks import network, pictures
from ticketkit.attacking import attacked

THREAT = ticketkit.ThreatModel("l2", eps=0.5, steps=3)


def test_every_picture_is_attacked_by_its_batch_alone() -> None:
    model, data = network(), pictures(230)
    found = list(attacked(model, data, THREAT, 4))
    assert [len(inputs) for inputs, _ in found] == [115, 115]
    images = data.images.float() / 255
    for (inputs, targets), part in zip(found, (slice(0, 115), slice(115, 230)), strict=True):
        assert torch.equal(targets, data.targets[part])
        moved = (inputs - images[part]).flatten(1).norm(dim=1)
        assert 0 < moved.min() <= moved.max() <= 0.5 + 1e-5


def test_every_network_is_attacked_from_the_same_starts() -> None:
    data = pictures(40)
    still = ticketkit.ThreatModel("linf", eps=0.1, steps=1, step=0.0)
    one, other = (list(attacked(network(seed), data, still, 5)) for seed in (0, 1))
    assert torch.equal(one[0][0], other[0][0])
    assert not torch.equal(one[0][0], data.images.float() / 255)
    third = list(attacked(network(), data, still, 6))
    assert not torch.equal(one[0][0], third[0][0])


def test_no_two_pictures_are_attacked_from_the_same_start_whatever_their_batch() -> None:
    grey = TensorDataset(torch.full((230, 1, 6, 6), 0.5), torch.zeros(230).long())
    still = ticketkit.ThreatModel("linf", eps=0.1, steps=1, step=0.0)
    found = [inputs for inputs, _ in attacked(network(), grey, still, 5)]
    assert [len(inputs) for inputs in found] == [115, 115]
    assert len({tuple(image.flatten().tolist()) for inputs in found for image in inputs}) == 230


def test_pictures_that_differ_in_size_are_attacked_as_those_of_one_size() -> None:
    """A segmenter of single pixels: its pictures may be cut in any way."""

    class Cut(torch.utils.data.Dataset[Any]):
        def __init__(self, data: ticketkit.Pictures) -> None:
            self.data = data

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, index: int) -> Any:
            image, target = self.data[index]
            rows = 2 + index % 3
            return image[:, :rows], target[:rows]

    still = ticketkit.ThreatModel("linf", eps=0.1, steps=2, start="zero")
    cut, model = Cut(broken.Scenes().splits(None)["test"]), torch.nn.Conv2d(1, 2, 1)
    found = [inputs for batch, _ in attacked(model, cut, still) for inputs in batch]
    assert len({inputs.shape for inputs in found}) == 3
    for index, inputs in enumerate(found):
        alone = next(attacked(model, Subset(cut, [index]), still))[0][0]
        assert torch.equal(inputs, alone)


def test_no_data_is_an_error() -> None:
    with pytest.raises(ticketkit.EvaluationError, match="there is no data"):
        list(attacked(network(), pictures(0), THREAT))


def test_a_network_without_parameters_is_attacked_too() -> None:
    class Mean(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs.flatten(1)[:, :3]

    (inputs, _), *_ = attacked(Mean(), pictures(7), THREAT)
    assert inputs.dtype == torch.float32
