"""The task head of a network."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

import ticketkit
from ticketkit import replace_head
from ticketkit.heads import has_head, head_of, heads_of

HEADS = {
    "resnet18": "fc",
    "vgg11": "classifier.6",
    "mobilenet_v3_small": "classifier.3",
    "convnext_tiny": "classifier.2",
    "vit_b_16": "heads.head",
    "squeezenet1_1": "classifier.1",
    "densenet121": "classifier",
    "swin_t": "head",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_torchvisions_heads_are_found_and_replaced(name: str) -> None:
    model = torchvision.models.get_model(name, weights=None).eval()
    assert head_of(model) == HEADS[name]
    before = {n: t.clone() for n, t in model.state_dict().items()}
    assert replace_head(model, 7) is model
    side = 224 if name == "vit_b_16" else 64
    assert model(torch.rand(1, 3, side, side)).shape == (1, 7)
    for key, tensor in model.state_dict().items():
        if not key.startswith(f"{HEADS[name]}."):
            assert torch.equal(tensor, before[key])
        else:
            assert tensor.shape == (7, *before[key].shape[1:])
    assert not model.get_submodule(HEADS[name]).training


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet10t", "fc"),
        ("vit_tiny_patch16_224", "head"),
        ("mobilenetv3_small_050", "classifier"),
    ],
)
def test_timms_heads_are_those_that_timm_tells(name: str, head: str) -> None:
    model: Any = timm.create_model(name, pretrained=False)
    assert head_of(model) == head == model.pretrained_cfg["classifier"]
    assert replace_head(model, 7).get_parameter(f"{head}.weight").shape[0] == 7


@pytest.mark.parametrize("auxiliary", [False, True])
def test_a_segmenters_head_is_its_last_convolution_and_a_second_head_goes_with_it(
    auxiliary: bool,
) -> None:
    model = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=auxiliary
    ).eval()
    assert heads_of(model) == ("classifier.4", *(["aux_classifier.4"] if auxiliary else []))
    outputs = replace_head(model, 5)(torch.rand(1, 3, 64, 64))
    assert [*outputs] == ["out", "aux"][: 1 + auxiliary]
    assert all(output.shape == (1, 5, 64, 64) for output in outputs.values())


def test_the_new_head_is_torchs_own_initialisation_from_the_seed() -> None:
    torch.manual_seed(5)
    expected = nn.Linear(512, 9)
    for _ in range(2):
        head: Any = replace_head(torchvision.models.resnet18(), 9, seed=5).get_submodule("fc")
        assert torch.equal(head.weight, expected.weight)
        assert torch.equal(head.bias, expected.bias)
    other: Any = replace_head(torchvision.models.resnet18(), 9, seed=6).get_submodule("fc")
    assert not torch.equal(other.weight, expected.weight)
    model = torchvision.models.resnet18()
    state = torch.get_rng_state()
    replace_head(model, 9)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "old",
    [
        nn.Linear(4, 3, bias=False, dtype=torch.float64),
        nn.Conv1d(4, 3, 1),
        nn.Conv2d(4, 3, 1, bias=False, device="meta"),
        nn.Conv2d(4, 3, 3, padding=1, dtype=torch.bfloat16),
    ],
)
def test_kind_geometry_dtype_and_device_stay(old: Any) -> None:
    new: Any = replace_head(nn.ModuleDict({"body": nn.Linear(2, 2), "head": old}), 8)["head"]
    assert type(new) is type(old)
    assert new.weight.shape == (8, *old.weight.shape[1:])
    assert (new.weight.dtype, new.weight.device) == (old.weight.dtype, old.weight.device)
    assert (new.bias is None) == (old.bias is None)
    assert getattr(new, "padding", None) == getattr(old, "padding", None)


def test_it_is_found_within_a_compiled_network() -> None:
    model = torchvision.models.resnet18()
    compiled: Any = torch.compile(model, backend="eager")
    replace_head(compiled, 3)
    assert model.fc.out_features == 3


def test_a_network_without_one_by_name_is_refused_and_candidates_listed() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 4), nn.Linear(4, 2))
    assert not has_head(model)
    for call in (head_of, lambda network: replace_head(network, 3)):
        with pytest.raises(ticketkit.UsageError, match=r"no task head .* last ones are 3, 2, 0"):
            call(model)
    with pytest.raises(ticketkit.UsageError, match="last ones are the network itself"):
        head_of(nn.Linear(2, 2))
    with pytest.raises(ticketkit.UsageError, match="last ones are none"):
        head_of(nn.ReLU())


@pytest.mark.parametrize(
    "head", [nn.Conv3d(4, 3, 1), nn.ConvTranspose2d(4, 3, 1), nn.Conv2d(4, 4, 1, groups=2)]
)
def test_a_head_of_another_kind_is_refused(head: nn.Module) -> None:
    with pytest.raises(ticketkit.UsageError, match=f"the head head is a {type(head).__name__}"):
        replace_head(nn.ModuleDict({"head": head}), 3)


@pytest.mark.parametrize("classes", [0, -1, 2.0, True, "3", None])
def test_classes_are_a_whole_number_of_one_or_more(classes: Any) -> None:
    with pytest.raises(ticketkit.UsageError, match="classes is a whole number of 1 or more"):
        replace_head(torchvision.models.resnet18(), classes)
