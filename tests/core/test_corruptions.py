"""The common corruptions of pictures: what all of them keep."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

import ticketkit
from ticketkit import severities
from ticketkit.corruptions import CORRUPTIONS, check_corruption, corrupt

LAW = settings(deadline=None, max_examples=60)
KINDS = st.sampled_from(CORRUPTIONS)


def pictures(count: int = 3, channels: int = 3, height: int = 16, width: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, height, width, generator=generator)


@LAW
@given(KINDS, st.integers(1, 5), st.integers(1, 4), st.integers(8, 40), st.integers(8, 40))
def test_what_comes_out_are_pictures_of_any_size_and_channels(
    kind: str, severity: int, channels: int, height: int, width: int
) -> None:
    clean = pictures(2, channels, height, width)
    before = clean.clone()
    found = corrupt(clean, kind, severity)
    assert (found.shape, found.dtype) == (clean.shape, clean.dtype)
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(clean, before)


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("severity", [1, 5])
def test_photographs_and_pictures_of_one_colour_stay_pictures(kind: str, severity: int) -> None:
    for clean in (pictures(1, 3, 64, 80), torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 9, 8)):
        found = corrupt(clean, kind, severity)
        assert found.shape == clean.shape
        assert found.isfinite().all()


@LAW
@given(KINDS, st.integers(1, 5), st.integers(0, 4), st.integers(0, 9))
def test_what_is_random_is_of_the_seed_and_the_picture_and_not_of_its_batch(
    kind: str, severity: int, index: int, seed: int
) -> None:
    clean = pictures(5)
    whole = corrupt(clean, kind, severity, seed=seed, first=7)
    alone = corrupt(clean[index : index + 1], kind, severity, seed=seed, first=7 + index)
    assert torch.equal(whole[index : index + 1], alone)


RANDOM = {"noise", "glass_blur", "motion_blur", "snow", "fog", "elastic_transform"}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_other_seeds_indices_and_severities_draw_other_numbers(kind: str) -> None:
    clean = pictures(1).repeat(2, 1, 1, 1)
    is_random = any(kind.endswith(word) for word in RANDOM)
    numpys: Any = np.random.get_state()
    torchs = torch.random.get_rng_state()
    found = corrupt(clean, kind, 3)
    assert torch.equal(found[0], found[1]) != is_random
    assert torch.equal(found, corrupt(clean, kind, 3, seed=1)) != is_random
    assert not torch.equal(found, corrupt(clean, kind, 4))
    after: Any = np.random.get_state()
    assert np.array_equal(numpys[1], after[1])
    assert torch.equal(torchs, torch.random.get_rng_state())


# Pixels that are moved, and not changed, are as far from their place at any severity.
@pytest.mark.parametrize("kind", sorted({*CORRUPTIONS} - {"elastic_transform", "glass_blur"}))
@pytest.mark.parametrize("side", [32, 64])
def test_the_higher_the_severity_the_farther_from_real_photographs(kind: str, side: int) -> None:
    photographs = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2)
    squares = photographs[:, :, :420].unfold(3, 210, 210).unfold(2, 210, 210)
    squares = squares.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)  # 12, of 210 px
    clean = torch.nn.functional.adaptive_avg_pool2d(squares.float() / 255, side)
    away = [(corrupt(clean, kind, s) - clean).square().mean().sqrt().item() for s in range(1, 6)]
    assert away[0] > 0
    assert away[4] > 1.2 * away[0]
    # Neighbours of a published row may come near it, or a little before it.
    assert all(after > 0.8 * before for before, after in itertools.pairwise(away))


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_from_64_px_a_side_the_parameters_are_those_of_photographs(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = pictures(1, 3, 63, 80), pictures(1, 3, 64, 80)
    before = corrupt(small, kind, 3), corrupt(large, kind, 3)
    monkeypatch.setattr("ticketkit.corruptions.LARGE", severities.SMALL)
    assert torch.equal(corrupt(small, kind, 3), before[0])
    assert not torch.equal(corrupt(large, kind, 3), before[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64, torch.bfloat16])
def test_pictures_in_bytes_and_other_dtypes_serve(dtype: torch.dtype) -> None:
    whole = (pictures() * 255).round()
    floats = whole / 255
    clean = whole.to(dtype) if dtype == torch.uint8 else floats.to(dtype)
    found = corrupt(clean, "contrast", 2)
    assert found.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    assert found.float() == pytest.approx(corrupt(floats, "contrast", 2), abs=5e-3)


def test_no_pictures_become_no_pictures() -> None:
    for kind in CORRUPTIONS:
        assert corrupt(pictures(0), kind, 1).shape == (0, 3, 16, 16)


@pytest.mark.parametrize(
    ("kind", "severity", "told"),
    [
        ("gausian_noise", 1, r"unknown corruption 'gausian_noise'; did you mean 'gaussian_noise'"),
        ("", 1, "unknown corruption ''; choose from gaussian_noise, shot_noise"),
        ("frost", 1, "frost is left out of the common corruptions: it needs photographs"),
        ("fog", 0, "the severity of a corruption is 1, 2, 3, 4 or 5, found 0"),
        ("fog", 2.0, "found 2.0"),
    ],
)
def test_unknown_corruptions_and_severities_are_refused(
    kind: str, severity: Any, told: str
) -> None:
    for ask in (
        lambda: corrupt(pictures(), kind, severity),
        lambda: check_corruption(kind, severity),
    ):
        with pytest.raises(ticketkit.UsageError, match=told):
            ask()


@pytest.mark.parametrize(
    ("clean", "told"),
    [
        (pictures(1, 3, 7, 30), "picture 4 is 7 x 30 px, too small for fog: a side has 8 px or"),
        (pictures()[0], r"fog takes pictures \(batch, channels, height, width\), found \(3, 16"),
        (pictures() * 2, r"inputs are pixels in \[0, 1\], found"),
        (pictures() * torch.nan, r"inputs are pixels in \[0, 1\], found nan"),
        (torch.zeros(1, 3, 9, 9, dtype=torch.int64), "inputs are floating pixels"),
    ],
)
def test_what_are_no_pictures_is_refused(clean: torch.Tensor, told: str) -> None:
    with pytest.raises(ticketkit.InputError, match=told):
        corrupt(clean, "fog", 1, first=4)
