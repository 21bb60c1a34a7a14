"""A mask on the bits of a tensor, in pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ticketkit
from ticketkit import masking
from ticketkit.masking import count_revived, count_zeros, masked
from ticketkit.torchfile import raw_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.complex64])
@pytest.mark.parametrize("scheme", ["unstructured", "row", "channel"])
def test_pieces_make_up_the_masked_tensor(
    scheme: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "PIECE", 64)
    network = nn.ModuleDict(
        {
            "a": nn.Conv2d(3, 30, 3),
            "b": nn.ConvTranspose2d(6, 9, 3, groups=3),
            "c": nn.Linear(9, 31),
        }
    )
    mask = ticketkit.draw(network, scheme=scheme, sparsity=0.6).mask
    for name, keep in mask.items():
        weight = network.get_parameter(name).detach().to(dtype)
        pieces = list(masked(raw_of(weight), mask.packed(name)))
        expected = raw_of(torch.where(keep, weight, torch.zeros_like(weight)))
        assert np.array_equal(np.concatenate(pieces), expected.reshape(-1))


def test_what_is_removed_is_plus_zero_whatever_it_was() -> None:
    odd = torch.tensor([float("nan"), -0.0, float("inf"), 1.0])
    mask = ticketkit.Mask({"w": torch.tensor([False, False, False, True])})
    (piece,) = masked(raw_of(odd), mask.packed("w"))
    assert piece.tolist() == [0, 0, 0, raw_of(odd)[3]]


def test_a_tensor_of_nothing_has_no_pieces() -> None:
    mask = ticketkit.Mask({"w": torch.ones(0, 3, dtype=torch.bool)})
    assert list(masked(raw_of(torch.empty(0, 3)), mask.packed("w"))) == []


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.complex64, torch.float8_e4m3fn]
)
def test_zeros_are_counted_with_either_sign(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "PIECE", 16)
    weight = torch.arange(-50, 50).float().relu() * torch.tensor([1.0, -1.0]).repeat(50)
    weight = weight.to(dtype)
    assert count_zeros(raw_of(weight), weight.numel()) == int(
        (weight.to(torch.complex64) == 0).sum()
    )
    assert count_zeros(raw_of(weight[:0]), 0) == 0


def test_a_complex_number_is_zero_where_both_parts_are() -> None:
    weight = torch.tensor([0, 1, 1j, 1 + 1j, -0.0], dtype=torch.complex64)
    assert count_zeros(raw_of(weight), 5) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_what_came_back_is_counted(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "PIECE", 64)
    generator = torch.Generator().manual_seed(0)
    keep = torch.rand(30, 20, generator=generator) < 0.5
    weight = torch.where(keep, torch.randn(30, 20, generator=generator), -0.0).to(dtype)
    entry = ticketkit.Mask({"w": keep}).packed("w")
    assert count_revived(raw_of(weight), entry) == 0
    weight[~keep] = float("nan")
    assert count_revived(raw_of(weight), entry) == int((~keep).sum())
