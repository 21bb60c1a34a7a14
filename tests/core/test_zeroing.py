"""Writing +0.0: the removed bits are all zero, the kept ones are as they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ticketkit import zeroing
from ticketkit.zeroing import layout, zero_

DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.complex128,
]
VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda base: base,
    "channels last": lambda base: base.permute(0, 3, 1, 2),
    "transposed": lambda base: base.transpose(0, 3),
    "with gaps": lambda base: base[:, :, ::2, 1:],
    "at an offset": lambda base: base[1:],
    "empty": lambda base: base[:0],
    "one element": lambda base: base[:1, :1, :1, :1],
    "scalar": lambda base: base[1, 2, 3, 4],
}


def _any_bits(dtype: torch.dtype) -> torch.Tensor:
    """A tensor of random bits: NaN, infinities, subnormals and -0.0 are among them."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, 4, 5 * dtype.itemsize)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8).view(dtype)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of each element, a row an element, in C order."""
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).reshape(-1, tensor.element_size()).clone()


def _keep(tensor: torch.Tensor) -> torch.Tensor:
    return torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1)) < 0.5


@pytest.mark.parametrize("chunk", [7, zeroing._CHUNK])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_removed_bits_are_zero_and_kept_bits_unchanged(
    dtype: torch.dtype,
    view: Callable[[torch.Tensor], torch.Tensor],
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zeroing, "_CHUNK", chunk)
    tensor = view(_any_bits(dtype))
    keep, stride, expected = _keep(tensor), tensor.stride(), _bits(tensor)
    expected[~keep.reshape(-1)] = 0
    zero_(tensor, layout(keep, tensor))
    assert torch.equal(_bits(tensor), expected)
    assert tensor.stride() == stride


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -0.0, -1.0])
def test_whatever_stood_there_becomes_positive_zero(dtype: torch.dtype, value: float) -> None:
    tensor = torch.full((3,), value).to(dtype)
    zero_(tensor, layout(torch.tensor([False, False, False]), tensor))
    assert not _bits(tensor).any()


def test_a_mask_laid_out_otherwise_than_the_tensor_zeroes_the_same_weights() -> None:
    tensor, keep = torch.randn(2, 3, 4, 4), torch.rand(2, 3, 4, 4) < 0.5
    mask = layout(keep, tensor.to(memory_format=torch.channels_last))
    expected = tensor.masked_fill(~keep, 0)
    zero_(tensor, mask)
    assert torch.equal(tensor, expected)


def test_elements_between_those_of_a_view_stay() -> None:
    base = torch.ones(4, 6)
    view = base[:, ::2]
    zero_(view, layout(torch.zeros(4, 3, dtype=torch.bool), view))
    assert torch.equal(base, torch.tensor([0.0, 1.0]).repeat(4, 3))


def test_elements_between_those_of_two_views_of_the_same_strides_stay() -> None:
    base, mask = torch.ones(4, 6), torch.zeros(4, 6, dtype=torch.int8)
    zero_(base[:, ::2], mask[:, ::2])
    assert torch.equal(base, torch.tensor([0.0, 1.0]).repeat(4, 3))


def test_a_mask_is_laid_out_as_the_tensor_is() -> None:
    like = torch.nn.Parameter(torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last))
    mask = layout(_keep(like), like)
    assert (mask.dtype, mask.stride()) == (torch.int8, like.stride())
    assert torch.equal(mask == -1, _keep(like))
    assert torch.equal(mask == 0, ~_keep(like))
    assert not mask.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=str)
def test_autograd_notices_that_a_weight_has_changed(dtype: torch.dtype) -> None:
    weight = torch.ones(3, dtype=dtype, requires_grad=True)
    loss = (weight * weight).abs().sum()
    with torch.no_grad():
        zero_(weight, layout(torch.tensor([True, False, True]), weight))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(loss)
