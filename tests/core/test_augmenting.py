"""Augmentation: a function of (seed, epoch, index), and right at the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ticketkit.augmenting import as_evaluated, augmented, in_one_size
from ticketkit.errors import InputError
from ticketkit.schedules import Schedule
from ticketkit.seeds import uniform

SHIFT = Schedule(epochs=1, augment="shift")
CROP = Schedule(epochs=1, augment="crop", size=12)


def pictures(count: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)


def test_nothing_changes_where_nothing_was_asked() -> None:
    images, targets = pictures(4, 1, 5, 6), torch.arange(4)
    found = augmented((images, targets), Schedule(epochs=1), 0, 0, np.arange(4))
    assert found[0] is images
    assert found[1] is targets


def test_a_shift_moves_by_up_to_a_pixel_and_brings_in_black() -> None:
    images = pictures(50, 2, 5, 6)
    found, _ = augmented((images, torch.zeros(50)), SHIFT, 7, 3, np.arange(50))
    moves = (uniform(7, 3, np.arange(50), 5)[:, :2] * 3).astype(int) - 1
    assert {tuple(move) for move in moves} == {(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)}
    for image, shifted, (down, right) in zip(images, found, moves, strict=True):
        expected = torch.zeros(2, 7, 8, dtype=torch.uint8)
        expected[:, 1:-1, 1:-1] = image
        assert torch.equal(shifted, expected[:, 1 + down : 6 + down, 1 + right : 7 + right])


def test_the_classes_of_pixels_move_along_and_what_comes_in_is_ignored() -> None:
    images = pictures(20, 1, 5, 6) // 2 + 1
    found, targets = augmented((images, images[:, 0].long()), SHIFT, 0, 0, np.arange(20))
    inside = targets != 255
    assert torch.equal(targets[inside], found[:, 0].long()[inside])
    assert (found[:, 0][~inside] == 0).all()
    assert not inside.all()


def test_a_picture_is_changed_alike_in_any_batch() -> None:
    images, targets = pictures(8, 1, 9, 9), torch.arange(8)
    for schedule in (SHIFT, CROP):
        whole, _ = augmented((images, targets), schedule, 1, 2, np.arange(8))
        part, _ = augmented((images[5:6], targets[5:6]), schedule, 1, 2, np.array([5]))
        assert torch.equal(whole[5:6], part)


def test_crops_of_pictures_of_all_sizes_are_one_batch() -> None:
    samples = [(pictures(1, 3, 10 + i, 30 - i)[0], i) for i in range(9)]
    images, targets = augmented(samples, CROP, 0, 0, np.arange(9))
    assert images.shape == (9, 3, 12, 12)
    assert images.dtype == torch.uint8
    assert targets.tolist() == list(range(9))


def test_crops_lie_in_the_picture_and_half_are_mirrored() -> None:
    # A picture whose pixels say where they are: rows in the first channel, columns in the second.
    rows, columns = torch.meshgrid(
        torch.linspace(0, 1, 40), torch.linspace(0, 1, 60), indexing="ij"
    )
    places = torch.stack([rows, columns])
    samples = [(places, 0)] * 400
    images, _ = augmented(samples, CROP, 0, 0, np.arange(400))
    mirrored = images[:, 1, 0, 0] > images[:, 1, 0, -1]
    assert 0.4 < mirrored.float().mean() < 0.6
    assert images.min() >= 0
    assert images.max() <= 1
    heights = (images[:, 0, -1, 0] - images[:, 0, 0, 0]).abs()
    widths = (images[:, 1, 0, -1] - images[:, 1, 0, 0]).abs()
    areas = heights * widths
    assert areas.min() > 0.04  # 8 % of the area, less half a pixel at each edge
    assert areas.max() > 0.7


def test_the_classes_of_pixels_are_cropped_along() -> None:
    classes = torch.zeros(20, 20, dtype=torch.long)
    classes[:, 10:] = 1
    picture = classes[None].float()
    images, targets = augmented([(picture, classes)] * 30, CROP, 0, 0, np.arange(30))
    far = ((images[:, 0] < 0.05) | (images[:, 0] > 0.95)) & (targets != 255)
    assert torch.equal(targets[far], (images[:, 0] > 0.5).long()[far])


def test_a_picture_with_a_map_is_scaled_and_what_it_does_not_fill_is_ignored() -> None:
    """From half its sides to twice: 16 pixels become 8 to 32, in crops of 12."""
    classes = torch.ones(16, 16, dtype=torch.uint8)
    picture = torch.full((3, 16, 16), 200, dtype=torch.uint8)
    images, targets = augmented([(picture, classes)] * 200, CROP, 0, 0, np.arange(200))
    assert images.shape == (200, 3, 12, 12)
    outside = targets == 255
    assert torch.equal(outside, (images == 0).all(1))
    sides = (~outside).sum((1, 2)).sqrt()
    assert sides.min() == 8
    assert (sides == 12).float().mean() > 0.6  # two thirds are as large as the crop, or larger


def test_the_middle_of_pictures_of_all_sizes_with_their_maps_is_of_one_size() -> None:
    sides = [(9, 20), (30, 12), (12, 12)]
    data = [
        (torch.full((1, *plane), 7, dtype=torch.uint8), torch.ones(plane, dtype=torch.uint8))
        for plane in sides
    ]

    class Few(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, index: int) -> Any:
            return data[index]

    for (image, target), (height, width) in zip(
        (in_one_size(Few(), CROP)[i] for i in range(3)), sides, strict=True
    ):
        assert image.shape == (1, 12, 12)
        assert (target == 1).sum() == min(12, height) * min(12, width)
        assert torch.equal(target == 255, image[0] == 0)
    assert as_evaluated(Few(), CROP)[0][0].shape == (1, 9, 20)  # whole, in evaluation


def test_evaluation_sees_the_middle_of_what_was_trained_on_parts() -> None:
    data = torch.utils.data.TensorDataset(pictures(3, 3, 40, 60), torch.arange(3))
    seen = as_evaluated(data, Schedule(epochs=1, augment="crop", size=28))
    image, target = seen[1]
    assert image.shape == (3, 28, 28)
    assert target == 1
    assert len(seen) == 3
    whole = torch.nn.functional.interpolate(
        data[1][0][None].float(), (32, 48), mode="bilinear", antialias=True
    )
    assert (image.float() - whole[0, :, 2:30, 10:38]).abs().max() <= 0.5
    assert as_evaluated(data, SHIFT) is data


def test_pictures_without_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected pictures \(channels, height, width\)"):
        augmented([(torch.zeros(9, 9), 0)], CROP, 0, 0, np.arange(1))
