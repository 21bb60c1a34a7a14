"""The one view of a weight, against what torch computes with that weight."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from ticketkit import Layer

CONVOLUTIONS: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
SIDES = st.integers(1, 3)
LAW = settings(deadline=None, max_examples=50)


@st.composite
def transposed(draw: st.DrawFn) -> Layer:
    """A transposed convolution of any groups and of one to three dimensions."""
    groups, inputs, outputs = draw(SIDES), draw(SIDES), draw(SIDES)
    kernel = draw(st.lists(SIDES, min_size=1, max_size=3))
    return Layer.of("up.weight", (groups * inputs, outputs, *kernel), groups)


def _counted(layer: Layer) -> torch.Tensor:
    return torch.arange(1.0, layer.size + 1).reshape(layer.own_shape)


@LAW
@given(transposed())
def test_each_output_sees_the_inputs_that_torch_connects_it_to(layer: Layer) -> None:
    weight, groups = _counted(layer), layer.transposed or 0
    outputs, inputs, *kernel = layer.shape
    one_hot = torch.eye(inputs * groups).reshape(-1, inputs * groups, *(1 for _ in kernel))
    # response[c, o] is the kernel with which input channel c enters output channel o.
    response = CONVOLUTIONS[len(kernel)](one_hot, weight, groups=groups)
    presented = layer.present(weight)
    for output in range(outputs):
        first = output // (outputs // groups) * inputs
        assert torch.equal(presented[output], response[first : first + inputs, output])


@LAW
@given(transposed())
def test_restore_undoes_present(layer: Layer) -> None:
    weight = _counted(layer)
    assert layer.present(weight).shape == layer.shape
    assert torch.equal(layer.restore(layer.present(weight)), weight)


@LAW
@given(transposed())
def test_present_undoes_restore(layer: Layer) -> None:
    presented = _counted(layer).reshape(layer.shape)
    assert layer.restore(presented).shape == layer.own_shape
    assert torch.equal(layer.present(layer.restore(presented)), presented)


@LAW
@given(transposed())
def test_arrays_and_tensors_are_presented_alike(layer: Layer) -> None:
    weight = _counted(layer)
    assert np.array_equal(layer.present(weight.numpy()), layer.present(weight).numpy())
    assert np.array_equal(layer.restore(layer.present(weight.numpy())), weight.numpy())


@LAW
@given(transposed())
def test_an_own_shape_gives_the_layer_and_the_layer_its_own_shape(layer: Layer) -> None:
    assert Layer.of(layer.name, layer.own_shape, layer.transposed) == layer
    assert layer.size == _counted(layer).numel()


def test_a_module_of_torch_has_the_own_shape_of_its_layer() -> None:
    module = torch.nn.ConvTranspose2d(6, 4, 3, groups=2)
    layer = Layer.of("weight", tuple(module.weight.shape), module.groups)
    assert layer.shape == (4, 3, 3, 3)
    assert layer.own_shape == tuple(module.weight.shape)


def test_every_other_layer_is_presented_as_it_is() -> None:
    layer, weight = Layer.of("fc.weight", (2, 3)), torch.ones(2, 3)
    assert layer.shape == layer.own_shape == (2, 3)
    assert layer.present(weight) is weight
    assert layer.restore(weight) is weight


def test_a_transposed_convolution_of_one_group_is_presented_without_a_copy() -> None:
    weight = torch.ones(2, 3, 3, 3)
    assert Layer.of("up.weight", (2, 3, 3, 3), 1).present(weight).data_ptr() == weight.data_ptr()


def test_a_layer_cannot_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Layer("fc.weight", (2, 3)).shape = (3, 2)  # type: ignore[misc]
