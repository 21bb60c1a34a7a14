"""Samples, as batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from tests.core.networks import pictures
from ticketkit import InputError
from ticketkit.stacking import fetched, pixels, stacked


def test_samples_of_any_data_set_become_one_batch() -> None:
    ours = pictures(9)
    theirs = TensorDataset(ours.images, ours.targets)
    indices = np.array([4, 0, 4])
    for data in (ours, theirs):
        images, targets = stacked(fetched(data, indices))
        assert torch.equal(images, ours.images[indices])
        assert torch.equal(targets, ours.targets[indices])


def test_bytes_become_pixels_from_0_to_1() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert pixels(images).tolist() == torch.tensor([0.0, 0.2, 1.0]).tolist()
    floating = torch.tensor([0.5])
    assert pixels(floating) is floating


def test_pictures_of_different_shapes_are_told_with_the_way_out() -> None:
    samples = [(torch.zeros(3, 4, 5), 0), (torch.zeros(3, 4, 5), 1), (torch.zeros(3, 5, 4), 0)]
    told = r"pictures differ in shape, \(3, 4, 5\) and \(3, 5, 4\): give a schedule that crops them"
    with pytest.raises(InputError, match=told):
        stacked(samples)
    assert stacked(samples[:2])[0].shape == (2, 3, 4, 5)
