"""Evaluator `certified`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import ticketkit
from tests.core.networks import network, pictures
from ticketkit.progress import Advance, listening
from ticketkit.testing import EvaluatorLaws, cases
from ticketkit_plugins.evaluators.certified import Certified

PART = Certified(sigma=0.1, n=1000, radii=(0.0, 0.1, 0.2), count=None)


class TestCertified(EvaluatorLaws):
    part = Certified(n0=10, n=50, radii=(0.1,))


class Half(nn.Module):
    """Class 1 where the first pixel is above 1/2: the exact radius is how far it is from there."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        margin = self.slope * (inputs[:, 0, 0, 0] - 0.5)
        return torch.stack([-margin, margin], 1)


def line(count: int = 40) -> TensorDataset:
    """Pictures of two pixels whose first one goes from 0 to 1; every tenth label is wrong."""
    first = (torch.arange(count) + 0.5) / count
    images = torch.stack([first, torch.full_like(first, 0.5)], 1).reshape(count, 1, 1, 2)
    wrong = torch.arange(count) % 10 == 1
    return TensorDataset(images, ((first > 0.5) ^ wrong).long())


def measured(
    model: nn.Module, data: Dataset[Any], part: Certified = PART, **options: Any
) -> ticketkit.Figures:
    return next(iter(ticketkit.evaluate(model, data, [part], **options).values()))


def test_of_a_linear_network_it_is_a_little_below_the_exact_radii() -> None:
    found = measured(Half(), line())
    exact = [
        abs((i + 0.5) / 40 - 0.5) * (i % 10 != 1)  # the radius where the label is right, else 0
        for i in range(40)
    ]
    # The highest radius of 1000 samples, of which all agree.
    most = 0.1 * 2.462
    possible = [min(radius, most) for radius in exact]
    assert found["acr"].value < sum(possible) / 40
    assert found["acr"].value == pytest.approx(sum(possible) / 40, abs=0.015)
    for radius in (0.1, 0.2):
        share = sum(each >= radius for each in exact) / 40
        assert share - 0.1 <= found[f"certified-{radius}"].value <= share
    assert found["certified-0"] == found["accuracy"]
    # Those nearest to the plane, i = 19 and 20, are 1/8 of a deviation from it: 55 % of votes.
    assert found["accuracy"].value <= 36 / 40
    assert 0.85 <= found["accuracy"].value + found["abstained"].value <= 0.9 + 2 / 40


def test_figures_are_those_of_its_certificates() -> None:
    model, data = Half(), line()
    found = measured(model, data, seed=3)
    smoothed = ticketkit.Smoothed(model, 0.1, seed=3)
    images, labels = data.tensors
    made = [smoothed.certify(image, index=i, n=1000) for i, image in enumerate(images)]
    right = [c.prediction == y for c, y in zip(made, labels.tolist(), strict=True)]
    radii = [c.radius * ok for c, ok in zip(made, right, strict=True)]
    assert found["acr"].value == pytest.approx(sum(radii) / 40)
    ends = ticketkit.bootstrap(lambda drawn: np.array(radii)[drawn].mean(), 40, seed=3)
    assert (found["acr"].low, found["acr"].high) == ends
    assert found["accuracy"].value == sum(right) / 40
    assert found["certified-0.2"].value == sum(r >= 0.2 for r in radii) / 40
    abstained = sum(c.prediction is ticketkit.ABSTAIN for c in made)
    assert found["abstained"].value == abstained / 40
    assert (found["abstained"].low, found["abstained"].high) == ticketkit.wilson(abstained, 40)


def test_figures_have_names_units_and_intervals() -> None:
    found = measured(Half(), line())
    assert list(found) == [
        *("acr", "certified-0", "certified-0.1", "certified-0.2", "accuracy", "abstained")
    ]
    assert [figure.unit for figure in found.values()] == ["l2", *["share"] * 5]
    assert [figure.better for figure in found.values()] == [*["higher"] * 5, "lower"]
    for figure in found.values():
        assert figure.n == 40
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high


def test_it_is_the_same_whatever_the_batch_and_the_network_is_left_alone() -> None:
    model, data = network().train(), pictures(12)
    before = cases.snapshot(model)
    part = Certified(n=300, radii=(0.25,), count=9)
    found = measured(model, data, part)
    assert cases.snapshot(model) == before
    assert measured(model, data, part, batch=5) == found
    assert measured(model, data, part, seed=1) != found
    sample = ticketkit.sample_of(data, 9)
    assert measured(model, sample, Certified(n=300, radii=(0.25,), count=None)) == found
    assert {figure.n for figure in found.values()} == {9}


def test_a_radius_that_no_network_could_reach_has_no_figure_and_that_is_told() -> None:
    most = ticketkit.certified_radius(100, 100, sigma=0.1, alpha=0.001)
    assert most == pytest.approx(0.1 * norm.ppf(0.001 ** (1 / 100)))
    part = Certified(sigma=0.1, n=100, radii=(0.1, 0.25, 0.5))
    told = r"no figure of radius 0\.25, 0\.5: n=100 samples of sigma=0\.1 certify 0\.150 at most"
    with pytest.warns(UserWarning, match=told):
        found = measured(Half(), line(4), part)
    assert list(found) == ["acr", "certified-0.1", "accuracy", "abstained"]


def test_one_picture_has_figures_too() -> None:
    found = measured(Half(), line(1), Certified(n0=1, n=1, radii=()))
    assert [(name, figure.value) for name, figure in found.items()] == [
        *(("acr", 0.0), ("accuracy", 0.0), ("abstained", 1.0))
    ]


def test_radii_that_are_all_0_are_no_certain_mean() -> None:
    found = measured(Half(), line(4), Certified(n0=1, n=1, radii=()))
    assert (found["acr"].value, found["acr"].low, found["acr"].high) == (0, None, None)


def test_options_are_a_spec() -> None:
    part = ticketkit.resolve("evaluator", "certified:sigma=1/10,n=500,radii=0.1+0.2,count=none")
    assert part == Certified(sigma=0.1, n=500, radii=(0.1, 0.2), count=None)
    assert ticketkit.spec_of(Certified()) == (
        "certified:sigma=0.25,n0=100,n=10000,alpha=0.001,radii=0.25+0.5+0.75,count=200"
    )


# Fault row 43
@pytest.mark.parametrize(
    "option",
    [
        *("sigma=0", "sigma=-0.25", "n=0", "n=-5", "n0=0", "alpha=0", "alpha=1", "alpha=-0.1"),
        *("radii=0.5+-1", "count=0", "n=1.5"),
    ],
)
def test_options_without_meaning_are_refused(option: str) -> None:
    with pytest.raises(ticketkit.UsageError):
        ticketkit.resolve("evaluator", f"certified:{option}")


class Overflows(Half):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outside = ((inputs < 0) | (inputs > 1)).flatten(1).any(1)  # by noise alone
        return super().forward(inputs).masked_fill(outside[:, None], torch.inf)


# Fault row 44
@pytest.mark.parametrize(
    ("model", "data", "told"),
    [
        (Half(), TensorDataset(torch.ones(3, 1, 1, 2), torch.tensor([1, 1, 2])), "sample 2: label"),
        (Overflows(), line(3), "sample 0: the network's output is NaN or infinite"),
        (cases.segmenting(), TensorDataset(*cases.maps()), "certified takes outputs"),
        (Half(), TensorDataset(torch.ones(0, 1, 1, 2), torch.ones(0).long()), "no data"),
    ],
)
def test_what_means_nothing_is_told(model: nn.Module, data: Dataset[Any], told: str) -> None:
    with pytest.raises(ticketkit.EvaluationError, match=told):
        measured(model, data)


def test_pictures_that_are_normalised_already_are_refused() -> None:
    data = TensorDataset(torch.full((2, 1, 1, 2), -1.5), torch.zeros(2).long())
    with pytest.raises(ticketkit.InputError, match="the network normalises by itself"):
        measured(Half(), data)


def test_progress_is_told_picture_by_picture() -> None:
    told: list[Any] = []

    @contextlib.contextmanager
    def listener(what: str, total: int, unit: str) -> Iterator[Advance]:
        told.append((what, total, unit))
        yield told.append

    with listening(listener):
        measured(Half(), line(4), Certified(n=10, radii=()))
    assert told == [("certifying", 4, "pictures"), 1, 1, 1, 1]


def test_the_highest_radius_is_the_one_that_the_docstring_tells() -> None:
    image = torch.zeros(1, 1, 2)
    part = Certified()
    far = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    far[1].bias.data = torch.tensor([100.0, 0.0])
    found = ticketkit.Smoothed(far, part.sigma).certify(image, n=part.n, alpha=part.alpha)
    highest = part.sigma * torch.special.ndtri(torch.tensor(part.alpha ** (1 / part.n)).double())
    assert found.radius == pytest.approx(highest.item(), abs=1e-4)
    assert f"here {found.radius:.2f}" in (Certified.__doc__ or "")
    assert math.isfinite(found.radius)


def test_radii_of_one_name_are_refused() -> None:
    with pytest.raises(ticketkit.UsageError, match=r"certified: radii differ, found \[0\.25, 0\."):
        Certified(radii=(0.25, 0.25000000001))
