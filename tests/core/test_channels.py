"""The channels of the pictures that a network takes."""

from __future__ import annotations

import copy
import pickle

import pytest
import timm
import torch
from torch import nn

import ticketkit
from ticketkit.architectures import architecture_of, of_torchvision
from ticketkit.channels import channels_of, fit_channels


def network(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Conv2d(4, 2, 1))


def test_the_first_convolution_tells() -> None:
    assert channels_of(network(3)) == 3
    assert channels_of(nn.Linear(3, 2)) is None
    assert channels_of(network(64)) is None
    assert channels_of(nn.Sequential(nn.ConvTranspose2d(2, 4, 3))) is None


@pytest.mark.slow
def test_it_tells_so_in_every_network_of_torchvision() -> None:
    names = frozenset.union(*of_torchvision())
    for name in sorted(n for n in names if not n.startswith("regnet")):  # which computes its widths
        with torch.device("meta"):
            assert channels_of(architecture_of(name).build(5, 3)) == 3, name


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_it_tells_so_in_networks_of_timm(name: str) -> None:
    with torch.device("meta"):
        assert channels_of(timm.create_model(name, in_chans=2)) == 2


def test_pictures_of_one_channel_are_repeated_for_a_network_of_three() -> None:
    model = network(3)
    grey = torch.rand(2, 1, 8, 8)
    expected = model(grey.repeat(1, 3, 1, 1))
    fit_channels(model, 1, "a network")
    for same in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(same(grey), expected)
        assert torch.equal(same(grey.repeat(1, 3, 1, 1)), expected)
    assert list(model.state_dict()) == list(network(3).state_dict())


def test_gradients_reach_a_repeated_picture() -> None:
    model = network(3)
    fit_channels(model, 1, "a network")
    grey = torch.rand(1, 1, 8, 8, requires_grad=True)
    model(grey).sum().backward()
    assert grey.grad is not None
    assert grey.grad.abs().sum() > 0


@pytest.mark.parametrize(("channels", "taken"), [(4, 3), (3, 1), (2, 3)])
def test_any_other_difference_is_refused(channels: int, taken: int) -> None:
    with pytest.raises(
        ticketkit.UsageError, match=f"vgg takes pictures of {taken} channels, .* {channels}"
    ):
        fit_channels(network(taken), channels, "vgg")
