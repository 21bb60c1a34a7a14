"""What a network costs, against closed forms, documented figures and counts by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torchvision.models
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ticketkit
from ticketkit.costs import count_macs, count_weights, time_forward
from ticketkit.testing import cases


def macs(model: nn.Module, *shape: int) -> tuple[int, int]:
    found = count_macs(model, torch.rand(1, *shape))
    return found.dense, found.effective


def halved(model: nn.Module) -> nn.Module:
    """Every second element of each weight is zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.view(-1)[::2] = 0
    return model


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        # Each output of a convolution takes (in / groups) x kernel products; bias costs none.
        (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 6), 10 * 6 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, 3, stride=2, bias=False), (3, 11, 7), 5 * 3 * 8 * 3 * 9),
        (nn.Conv2d(4, 6, (3, 2), dilation=2), (4, 10, 6), 6 * 4 * 6 * 4 * 6),
        (nn.Conv2d(8, 12, 3, groups=4), (8, 5, 5), 9 * 12 * 2 * 9),
        (nn.Conv2d(8, 8, 3, groups=8), (8, 5, 5), 9 * 8 * 9),
        (nn.Conv1d(6, 8, 5), (6, 9), 5 * 8 * 6 * 5),
        (nn.Conv3d(2, 6, 2), (2, 3, 4, 5), 2 * 3 * 4 * 6 * 2 * 8),
        # Each input of a transposed one is spread by (out / groups) x kernel products.
        (nn.ConvTranspose2d(6, 4, 3, stride=2), (6, 5, 4), 5 * 4 * 6 * 4 * 9),
        (nn.ConvTranspose2d(6, 9, (3, 2), groups=3), (6, 5, 4), 5 * 4 * 6 * 3 * 6),
        (nn.Linear(12, 10), (12,), 12 * 10),
        (nn.Linear(12, 10, bias=False), (7, 12), 7 * 12 * 10),
        (nn.BatchNorm2d(3), (3, 4, 4), 0),
        (nn.MaxPool2d(2), (3, 4, 4), 0),
    ],
)
def test_a_layers_count_is_its_closed_form_and_half_of_it_with_half_its_weights(
    layer: nn.Module, shape: Any, expected: int
) -> None:
    assert macs(layer, *shape) == (expected, expected)
    assert macs(halved(layer), *shape) == (expected, expected // 2)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "vit_b_16"])
def test_networks_need_what_torchvision_documents(name: str) -> None:
    documented: Any = next(iter(torchvision.models.get_model_weights(name))).meta
    with torch.device("meta"):
        made = torchvision.models.get_model(name)
    model = made.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in itertools.chain(model.parameters(), model.buffers()):
            tensor.fill_(1)
    dense, effective = macs(model, 3, 224, 224)
    assert round(dense / 1e9, 3) == documented["_ops"]
    assert effective == dense
    weights = count_weights(model)
    assert weights.parameters == weights.nonzeros == documented["num_params"]
    assert weights.sparsity == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(0, 1), st.sampled_from([1, 2, 4]), st.integers(0, 99))
def test_effective_counts_are_those_of_a_loop_over_outputs_and_weights(
    stride: int, padding: int, groups: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Conv2d(4, 8, 3, stride=stride, padding=padding, groups=groups)
    mask = torch.rand(layer.weight.shape, generator=generator) < 0.3
    with torch.no_grad():
        layer.weight.copy_(mask.float())
    picture = torch.zeros(1, 4, 7, 5)
    naive = 0
    for output, _, _ in itertools.product(*map(range, layer(picture).shape[1:])):
        naive += sum(int(weight != 0) for weight in layer.weight[output].flatten())
    assert count_macs(layer, picture).effective == naive


def test_attention_counts_its_projections_by_their_weights_and_its_products_densely() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.attention(words, words, words)[0]
            return found

    projections, products = 5 * 8 * 8 * 4, 2 * 5 * 5 * 8
    assert macs(Attends(), 5, 8) == (projections + products,) * 2
    assert macs(halved(Attends()), 5, 8)[1] == projections // 2 + products
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert macs(encoder, 5, 8)[0] == projections + products + 2 * 5 * 8 * 16


def test_a_layer_that_is_used_twice_counts_twice_and_its_weights_once() -> None:
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert macs(halved(model), 6) == (72, 36)
    assert count_weights(model).parameters == 42


def test_wrappers_and_inference_mode_change_no_count() -> None:
    model = halved(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2)))
    expected = macs(model, 3, 6, 6)
    with torch.inference_mode():
        assert macs(nn.DataParallel(model), 3, 6, 6) == expected
    assert count_weights(nn.DataParallel(model)) == count_weights(model)


def test_weights_are_counted_and_the_head_is_no_part_of_the_sparsity() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    model = Small()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1)
        model.stem.weight[0] = 0
        model.fc.weight[0] = 0
    found = count_weights(model)
    assert (found.parameters, found.nonzeros) == (108 + 4 + 20 + 5, 137 - 27 - 4)
    assert found.sparsity == 0.25


def test_where_nothing_can_be_pruned_there_is_no_sparsity() -> None:
    assert count_weights(nn.BatchNorm2d(3)).sparsity is None
    assert count_weights(nn.ReLU()).parameters == 0


def test_each_run_is_timed_after_a_few_that_are_not() -> None:
    passes: list[int] = []
    told: list[int] = []
    model = nn.Linear(4, 2)
    model.register_forward_hook(lambda *_: passes.append(1))
    seconds = time_forward(model, torch.rand(1, 4), 7, told.append)
    assert len(seconds) == len(told) == 7
    assert len(passes) == 10
    assert all(each > 0 for each in seconds)


def test_the_network_and_torchs_switches_are_left_as_they_were() -> None:
    model = cases.runnable().train()
    pictures = torch.rand(2, 2, 6, 6)
    before = cases.snapshot(model)
    count_weights(model)
    count_macs(model, pictures)
    time_forward(model, pictures, 2)
    assert cases.snapshot(model) == before
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]


def test_pictures_that_do_not_fit_are_told() -> None:
    model, odd = nn.Linear(4, 2), torch.rand(1, 3)
    with pytest.raises(ticketkit.UsageError, match="failed on its inputs"):
        count_macs(model, odd)
    with pytest.raises(ticketkit.UsageError, match="failed on its inputs"):
        time_forward(model, odd, 1)
