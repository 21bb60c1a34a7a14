"""Pictures with their targets, in memory."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Subset

from ticketkit import InputError, Pictures, UsageError


def pictures(count: int = 10, seed: int = 0) -> Pictures:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 3, 4, 5), generator=generator).to(torch.uint8)
    return Pictures(images, torch.arange(count))


def test_an_item_is_a_picture_and_its_target() -> None:
    made = pictures()
    image, target = made[3]
    assert len(made) == 10
    assert torch.equal(image, made.images[3])
    assert (image.dtype, image.shape) == (torch.uint8, (3, 4, 5))
    assert target.item() == 3
    assert [int(made[index][1]) for index in range(10)] == list(range(10))


def test_a_loader_that_collates_nothing_gets_stacked_batches() -> None:
    made = pictures()
    for workers in (0, 1):
        loader = DataLoader(made, batch_size=4, num_workers=workers, collate_fn=lambda batch: batch)
        batches = list(loader)
        assert [len(images) for images, _ in batches] == [4, 4, 2]
        assert torch.equal(torch.cat([images for images, _ in batches]), made.images)
        assert torch.equal(torch.cat([targets for _, targets in batches]), made.targets)


@given(st.lists(st.integers(-10, 9)))
def test_a_batch_and_a_subset_are_the_items_in_that_order(indices: list[int]) -> None:
    made = pictures()
    images, targets = made.__getitems__(indices)
    subset = made.subset(indices)
    assert len(images) == len(targets) == len(subset) == len(indices)
    for place, index in enumerate(indices):
        assert torch.equal(images[place], made[index][0])
        assert targets[place] == subset[place][1] == made[index][1]


def test_indices_may_be_arrays_and_a_subset_of_torch_is_stacked_too() -> None:
    made = pictures()
    for indices in (np.array([4, 2]), torch.tensor([4, 2]), range(4, 0, -2)):
        assert made.subset(indices).targets.tolist() == [4, 2]  # type: ignore[arg-type]
    loader = DataLoader(Subset(made, [4, 2]), batch_size=2, collate_fn=lambda batch: batch)
    ((images, targets),) = loader
    assert torch.equal(images, made.images[[4, 2]])
    assert targets.tolist() == [4, 2]
    with pytest.raises(IndexError):
        made.subset([10])


def test_a_subset_is_a_copy() -> None:
    made = pictures()
    subset = made.subset([0, 1])
    subset.images.zero_()
    assert made.images[:2].any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_targets_may_be_a_class_for_each_pixel(dtype: torch.dtype) -> None:
    images = torch.zeros(2, 1, 4, 5, dtype=torch.uint8)
    image, target = Pictures(images, torch.full((2, 4, 5), 7, dtype=dtype))[1]
    assert (image.shape, target.shape, target.dtype) == ((1, 4, 5), (4, 5), dtype)


def test_the_digest_is_over_dtypes_shapes_and_bytes() -> None:
    made = pictures()
    digest = hashlib.sha256()
    for name, dtype, tensor in (("images", "U8", made.images), ("targets", "I64", made.targets)):
        digest.update(f"{name}\0{dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.numpy().tobytes())
    assert made.digest() == digest.hexdigest()
    assert made.digest() == pictures().digest() != pictures(seed=1).digest()


def test_the_digest_tells_shapes_and_targets_apart() -> None:
    zeros = torch.zeros(2, 1, 4, 6, dtype=torch.uint8)
    whole = Pictures(zeros, torch.zeros(2, dtype=torch.int64))
    others = [
        Pictures(zeros.reshape(2, 1, 6, 4), whole.targets),
        Pictures(zeros.reshape(2, 4, 1, 6), whole.targets),
        Pictures(zeros, torch.tensor([0, 1])),
        Pictures(zeros, torch.zeros(2, 4, 6, dtype=torch.int64)),
        Pictures(zeros, torch.zeros(2, 4, 6, dtype=torch.uint8)),
    ]
    assert len({each.digest() for each in [whole, *others]}) == 6


def test_the_layout_in_memory_does_not_matter() -> None:
    made = pictures()
    turned = Pictures(
        made.images.to(memory_format=torch.channels_last), made.targets.repeat_interleave(2)[::2]
    )
    assert turned.digest() == made.digest()


def test_pictures_travel_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(pictures())).digest() == pictures().digest()


IMAGES = torch.zeros(3, 1, 4, 5, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "targets", "told"),
    [
        (IMAGES.float(), torch.arange(3), "images are uint8 .*found float32 of shape"),
        (IMAGES[0], torch.arange(3), r"found uint8 of shape \(1, 4, 5\)"),
        (IMAGES[:, :0], torch.arange(3), r"found uint8 of shape \(3, 0, 4, 5\)"),
        (IMAGES, torch.arange(4), r"int64 of shape \(3,\), .*found int64 of shape \(4,\)"),
        (IMAGES, torch.arange(3.0), "found float32"),
        (IMAGES, torch.arange(3).byte(), r"found uint8 of shape \(3,\)"),
        (IMAGES, torch.zeros(3, 5, 4).byte(), r"\(3, 4, 5\), found uint8 of shape \(3, 5, 4\)"),
        (IMAGES, torch.zeros(3, 1).long(), r"found int64 of shape \(3, 1\)"),
    ],
)
def test_other_shapes_and_dtypes_are_refused(images: Any, targets: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Pictures(images, targets)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (IMAGES.numpy(), "a tensor, found ndarray"),
        (None, "a tensor, found NoneType"),
        (IMAGES.to("meta"), "a tensor on the CPU, found one on meta"),
    ],
)
def test_what_is_no_tensor_on_the_cpu_is_refused(images: Any, told: str) -> None:
    with pytest.raises(UsageError, match=f"images is {told}"):
        Pictures(images, torch.arange(3))
