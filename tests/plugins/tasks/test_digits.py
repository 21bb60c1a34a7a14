"""Task `digits`."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import ticketkit
from ticketkit.datasets import data_of
from ticketkit.testing import TaskLaws
from ticketkit_plugins.tasks.digits import Digits

SOURCE = load_digits()
CORRUPTIONS = ["noise", "blur", "contrast", "occlusion"]


class TestDigits(TaskLaws):
    part = Digits()


class TestFewLabels(TaskLaws):
    part = Digits(labels=100, split=3, corruption="noise", severity=0.25)


def splits(**options: Any) -> tuple[ticketkit.Pictures, ticketkit.Pictures]:
    made = Digits(**options).splits(None)
    return made["train"], made["test"]


def whole(**options: Any) -> np.ndarray[Any, Any]:
    """All 1797 pictures in scikit-learn's order, as numbers from 0 to 255."""
    order = np.random.RandomState(0).permutation(1797)
    train, test = splits(**options)
    images = np.empty((1797, *train.images.shape[2:]))
    images[order] = torch.cat([train.images, test.images])[:, 0].numpy()
    return images


def test_at_their_own_size_they_are_scikit_learn_s() -> None:
    assert np.array_equal(whole(size=8), np.rint(SOURCE.images * 255 / 16))


def test_they_are_scaled_bilinearly() -> None:
    # A pixel of twice the size lies a quarter of a pixel off its source.
    padded = np.pad(SOURCE.images * 255 / 16, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = np.empty((1797, 16, 10))
    rows[:, 0::2] = 0.75 * padded[:, 1:-1] + 0.25 * padded[:, :-2]
    rows[:, 1::2] = 0.75 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
    expected = np.empty((1797, 16, 16))
    expected[:, :, 0::2] = 0.75 * rows[:, :, 1:-1] + 0.25 * rows[:, :, :-2]
    expected[:, :, 1::2] = 0.75 * rows[:, :, 1:-1] + 0.25 * rows[:, :, 2:]
    assert np.abs(whole() - expected).max() < 0.5 + 1e-6


def test_targets_go_with_their_pictures() -> None:
    train, test = splits(size=8, labels=200, split=5)
    known = {np.rint(i * 255 / 16).tobytes(): t for i, t in zip(SOURCE.images, SOURCE.target)}  # noqa: B905
    for each in (train, test):
        for image, target in zip(each.images, each.targets, strict=True):
            assert known[image[0].double().numpy().tobytes()] == target


@given(st.integers(1, 1796), st.integers(0, 2**31 - 1))
@settings(max_examples=15, deadline=None)
def test_every_picture_is_in_one_of_the_splits(labels: int, split: int) -> None:
    train, test = splits(labels=labels, split=split, size=8)
    assert (len(train), len(test)) == (labels, 1797 - labels)
    pictures = [image.numpy().tobytes() for each in (train, test) for image in each.images]
    assert len(set(pictures)) == 1797
    counts = torch.bincount(torch.cat([train.targets, test.targets]))
    assert counts.tolist() == np.bincount(SOURCE.target).tolist()


def test_without_a_number_of_labels_four_fifths_are_trained_on() -> None:
    assert [len(each) for each in splits()] == [1437, 360]
    assert splits()[0].digest() == splits(labels=1437)[0].digest()


def test_fewer_labels_of_one_split_are_among_the_more() -> None:
    assert torch.equal(splits(labels=10)[0].images, splits(labels=20)[0].images[:10])


def test_splits_differ_by_their_seed_and_are_the_same_for_all_time() -> None:
    found = [splits(labels=100, split=split, size=8)[0] for split in range(4)]
    assert len({each.digest() for each in found}) == 4
    assert hashlib.sha256(found[0].targets.numpy().tobytes()).hexdigest() == (
        "570f745732bd2b41db4a4741963d3b98f725794e8dda234e8f4cda8aa0fc358b"
    )


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_corruption_of_severity_0_changes_nothing_and_another_does(corruption: Any) -> None:
    assert np.array_equal(whole(corruption=corruption, severity=0.0), whole())
    mild, bad = (np.abs(whole(corruption=corruption, severity=s) - whole()) for s in (0.2, 0.7))
    assert 0 < mild.mean() < bad.mean()


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_picture_is_corrupted_alike_whatever_the_split(corruption: Any) -> None:
    one = whole(corruption=corruption)
    order = np.random.RandomState(9).permutation(1797)
    train, _ = splits(corruption=corruption, labels=50, split=9)
    assert np.array_equal(train.images[:, 0].numpy(), one[order[:50]])


def test_noise_has_the_severity_as_its_deviation() -> None:
    # Where the picture is grey enough, nothing is cut off.
    before, after = whole(), whole(corruption="noise", severity=0.1)
    grey = (before > 110) & (before < 145)
    change = (after - before)[grey] / 255
    assert abs(change.mean()) < 0.01
    assert abs(change.std() - 0.1) < 0.005
    assert len({picture.tobytes() for picture in after - before}) == 1797


def test_blur_is_gaussian() -> None:
    # By its own definition, along each axis: black outside, up to four deviations.
    ticks = np.arange(16)
    kernel = np.exp(-((ticks[:, None] - ticks) ** 2) / (2 * 1.0**2))
    offsets = np.arange(-4, 5)
    kernel = np.where(abs(ticks[:, None] - ticks) <= 4, kernel, 0)
    kernel /= np.exp(-(offsets**2) / 2).sum()
    exact = whole() / 255
    found = whole(corruption="blur", severity=0.5) / 255
    assert np.abs(kernel @ exact @ kernel.T - found).max() < 1.2 / 255


def test_contrast_is_lost_towards_grey() -> None:
    found = whole(corruption="contrast", severity=0.75)
    assert np.abs(127.5 + 0.25 * (whole() - 127.5) - found).max() <= 0.5 + 0.25 * 0.5
    assert set(whole(corruption="contrast", severity=1.0).ravel()) == {128.0}


def test_occlusion_is_a_black_square_somewhere() -> None:
    found = whole(corruption="occlusion", severity=0.5)
    hidden = found != whole()
    assert not found[hidden].any()
    for picture in hidden:
        rows, columns = np.nonzero(picture)
        assert np.ptp(rows, axis=0) < 8 if len(rows) else True
        assert np.ptp(columns, axis=0) < 8 if len(columns) else True
    places = hidden.mean(0)
    assert (places[4:12, 4:12] > 0.2).all()  # the middle most of all
    assert not whole(corruption="occlusion", severity=1.0).any()


@pytest.mark.parametrize(
    "options",
    [
        "labels=0",
        "labels=1797",
        "labels=-1",
        "split=-1",
        "size=7",
        "severity=-0.1",
        "severity=1.5",
        "corruption=rain",
        "labels=few",
    ],
)
def test_options_out_of_range_are_refused(options: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=options.partition("=")[0]):
        ticketkit.resolve("task", f"digits:{options}")


def test_without_scikit_learn_it_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ticketkit.UsageError, match=r"sklearn cannot be .*ticketkit\[demo\]"):
        data_of(Digits())


@pytest.mark.slow
def test_raw_pixels_and_100_labels_reach_89_per_cent() -> None:
    scores = []
    for split in range(5):
        train, test = (each for each in splits(labels=100, split=split))
        model = LogisticRegression(C=10, max_iter=1000)
        model.fit(train.images.flatten(1).numpy() / 255, train.targets.numpy())
        scores.append(model.score(test.images.flatten(1).numpy() / 255, test.targets.numpy()))
    assert 0.87 < np.mean(scores) < 0.91
