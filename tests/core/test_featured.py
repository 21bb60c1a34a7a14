"""The moments of what a network makes of pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import ticketkit
from ticketkit.featured import moments_of
from ticketkit.progress import Advance, listening


def pictures(count: int, seed: int = 0) -> ticketkit.Pictures:
    """Random grey pictures of 3 x 4 pixels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 1, 3, 4), generator=generator).byte()
    return ticketkit.Pictures(images, torch.zeros(count, dtype=torch.int64))


def test_they_are_of_all_pictures_of_all_sets() -> None:
    sets = {"train": pictures(1100), "test": pictures(7, 1)}
    found = moments_of(nn.Flatten(), sets, "halves")
    whole = torch.cat([each.images for each in sets.values()]).flatten(1).double().numpy() / 255
    assert (found.n, found.width) == (1107, 12)
    np.testing.assert_allclose(found.mean, whole.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(whole, rowvar=False), atol=1e-7)


def test_progress_tells_every_picture() -> None:
    told: list[tuple[str, int, str]] = []
    done: list[int] = []

    @contextlib.contextmanager
    def listen(what: str, total: int, unit: str) -> Iterator[Advance]:
        told.append((what, total, unit))
        yield done.append

    with listening(listen):
        moments_of(nn.Flatten(), {"train": pictures(130), "test": pictures(20)}, "halves")
    assert told == [("features of halves", 150, "pictures")]
    assert sum(done) == 150
    assert len(done) > 2


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first, second = (moments_of(network, {"train": pictures(50)}, "x") for _ in range(2))
    assert network.training
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())
    np.testing.assert_array_equal(first.covariance, second.covariance)


# Fault row 45
def test_fewer_than_two_pictures_are_refused() -> None:
    with pytest.raises(
        ticketkit.InputError, match="few: a gap needs two pictures or more, found 1"
    ):
        moments_of(nn.Flatten(), {"train": pictures(1)}, "few")


class Broken(nn.Module):
    """Makes NaN of pictures whose first pixel is 1."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Their pixels, flat."""
        flat = inputs.flatten(1)
        return flat / (flat[:, :1] != 1) - flat[:, :1] / (flat[:, :1] != 1)


def test_features_that_are_not_finite_name_the_picture_and_its_set() -> None:
    sets = {"train": pictures(90), "test": pictures(80, 1)}
    for each in sets.values():
        each.images[:, 0, 0, 0] = 3
    sets["test"].images[71, 0, 0, 0] = 255
    message = "test of halves: sample 71: the network's output is NaN or infinite"
    with pytest.raises(ticketkit.EvaluationError, match=message):
        moments_of(Broken(), sets, "halves")


@pytest.mark.parametrize(
    ("pixel", "told"), [(1.02, "0 to 1.02"), (-0.1, "-0.1 to "), (float("nan"), "nan to nan")]
)
def test_pixels_that_are_none_name_the_picture_and_its_set(pixel: float, told: str) -> None:
    sets = {"train": pictures(90), "test": pictures(80, 1)}
    floating = sets["test"].images.float() / 255
    floating[71, 0, 0, :2] = torch.tensor([0, pixel])
    floats = TensorDataset(floating, sets["test"].targets)
    message = rf"test of halves: sample 71: inputs are pixels in \[0, 1\], found {told}"
    with pytest.raises(ticketkit.InputError, match=message):
        moments_of(nn.Flatten(), {**sets, "test": floats}, "halves")


def test_what_are_no_features_is_refused() -> None:
    with pytest.raises(ticketkit.InputError, match=r"numbers of shape \(N, d\), found .*4"):
        moments_of(nn.Identity(), {"train": pictures(9)}, "x")
