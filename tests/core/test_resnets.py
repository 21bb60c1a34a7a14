"""Our residual networks against torchvision's."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

import ticketkit
from ticketkit.resnets import BLOCKS, FcnResNet, ResNet, ResNetOptions

SMALL = ResNetOptions(width=16, stem="small")


def shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_by_default_they_are_torchvisions_in_names_bits_and_outputs(name: str) -> None:
    torch.manual_seed(3)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=7)
    torch.manual_seed(3)
    ours = ResNet(name, ResNetOptions(), 3, 7)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[n]) for n, tensor in ours.state_dict().items())
    pictures = torch.rand(2, 3, 64, 64)
    for mode in (True, False):
        assert torch.equal(ours.train(mode)(pictures), theirs.train(mode)(pictures))


@pytest.mark.parametrize(("name", "count"), [("resnet18", 11_166_912), ("resnet50", 23_454_912)])
def test_they_have_the_published_number_of_prunable_weights(name: str, count: int) -> None:
    ticket = ticketkit.draw(ResNet(name, ResNetOptions(), 3, 1000), scheme="channel", sparsity=0.5)
    assert ticket.mask.size == count


def test_the_laptops_network_has_305_808_prunable_weights_in_12_convolutions() -> None:
    ticket = ticketkit.draw(ResNet("resnet10", SMALL, 1, 62), scheme="unstructured", sparsity=0.9)
    assert len(ticket.mask) == 12
    assert ticket.mask.size == 305_808
    assert {"conv1.weight", "layer2.0.downsample.0.weight"} <= set(ticket.mask)


def test_the_small_stem_keeps_the_size_of_the_pictures() -> None:
    network = ResNet("resnet10", SMALL, 1, None)
    assert network(torch.rand(2, 1, 16, 16)).shape == (2, 128, 2, 2)
    whole = ResNet("resnet10", ResNetOptions(width=16), 1, None)
    assert whole(torch.rand(2, 1, 64, 64)).shape == (2, 128, 2, 2)


@given(st.sampled_from(sorted(BLOCKS)), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=12, deadline=None)
def test_any_width_has_the_names_of_the_default_and_doubles_from_stage_to_stage(
    name: str, width: int, channels: int, classes: int
) -> None:
    narrow = shapes(ResNet(name, ResNetOptions(width, "small"), channels, classes))
    with torch.device("meta"):
        wide = shapes(ResNet(name, ResNetOptions(), channels, classes))
    assert list(narrow) == list(wide)
    assert narrow["conv1.weight"] == (width, channels, 3, 3)
    for key, shape in wide.items():
        if key not in ("conv1.weight", "fc.weight", "fc.bias"):
            assert all(
                64 * one in (width * two, 64 * two)
                for one, two in zip(narrow[key], shape, strict=True)
            )
    assert narrow["fc.weight"][1] * 64 == wide["fc.weight"][1] * width


def test_the_variance_of_gradients_is_kept_at_every_width() -> None:
    torch.manual_seed(0)
    weight = ResNet("resnet10", SMALL, 1, 62).get_parameter("layer4.0.conv2.weight")
    assert math.isclose(weight.std().item(), math.sqrt(2 / (128 * 9)), rel_tol=0.02)


def test_a_segmenter_has_the_classifiers_names_under_backbone_and_torchvisions_head() -> None:
    theirs = torchvision.models.segmentation.fcn_resnet50(
        weights=None, weights_backbone=None, num_classes=4
    )
    assert shapes(FcnResNet("resnet50", ResNetOptions(), 3, 4)) == shapes(theirs)
    small = shapes(FcnResNet("resnet10", SMALL, 1, 4))
    classifier = shapes(ResNet("resnet10", SMALL, 1, 4))
    backbone = {
        n.removeprefix("backbone."): s for n, s in small.items() if n.startswith("backbone.")
    }
    assert backbone == {n: s for n, s in classifier.items() if not n.startswith("fc.")}


@pytest.mark.parametrize("size", [(16, 16), (33, 20)])
def test_a_segmenter_tells_a_class_for_each_pixel(size: tuple[int, int]) -> None:
    network = FcnResNet("resnet10", SMALL, 1, 4)
    assert network(torch.rand(2, 1, *size)).shape == (2, 4, *size)


@pytest.mark.parametrize("kind", [ResNet, FcnResNet])
def test_they_can_be_copied_and_trained_with_a_held_mask(
    kind: type[ResNet] | type[FcnResNet],
) -> None:
    network = copy.deepcopy(kind("resnet10", ResNetOptions(4, "small"), 1, 3))
    ticket = ticketkit.draw(network, scheme="kernel", sparsity=0.8)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    with ticket.mask.hold(network, optimizer):
        for _ in range(2):
            optimizer.zero_grad()
            network(torch.rand(4, 1, 16, 16)).square().mean().backward()
            optimizer.step()
    for name, keep in ticket.mask.items():
        assert not network.get_parameter(name)[~keep].any()
