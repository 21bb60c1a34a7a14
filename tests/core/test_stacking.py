"""Samples, as batches."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import TensorDataset

from tests.core.networks import pictures
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
