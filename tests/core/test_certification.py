"""Randomized smoothing, against closed forms and exact tests."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ticketkit
from ticketkit import ABSTAIN, Smoothed
from ticketkit.certificates import certified_radius, fewest_votes
from ticketkit.testing import cases

SIGMA = 0.25
MIDDLE = torch.full((1, 2, 2), 0.5)
LAW = settings(deadline=None, max_examples=25)
MARGINS = st.sampled_from([-0.6, -0.2, -0.01, 0.003, 0.1, 0.25, 0.5])


class Plane(nn.Module):
    """A linear classifier: class 1 on one side of a plane, `margin` from the middle, else 0.

    The smoothed network is the same one: P(f(x + e) = 1) = Phi(margin / sigma), and by theorem 1
    the radius is |margin|.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, -1.0, 2.0, -2.0]).reshape(1, 2, 2))
        self.margin = margin
        self.seen: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.seen.append(inputs.detach().clone())
        along = ((inputs - 0.5) * self.weight).flatten(1).sum(1) / self.weight.norm()
        return torch.stack([torch.zeros_like(along), along + self.margin], 1)


def certify(margin: float = 0.1, batch: int | None = None, **options: Any) -> Any:
    return Smoothed(Plane(margin), SIGMA, batch=batch).certify(MIDDLE, **options)


def seen(batch: int | None = None, n: int = 700, **options: Any) -> torch.Tensor:
    """The pictures that the network was asked about, after the guess of 30."""
    model = Plane(0.1)
    Smoothed(model, SIGMA, batch=batch).certify(MIDDLE, n0=30, n=n, **options)
    return torch.cat(model.seen)[30:]


@pytest.mark.parametrize("margin", [-0.5, -0.1, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_of_a_linear_network_the_radius_is_a_little_below_the_margin(
    margin: float, seed: int
) -> None:
    smoothed = Smoothed(Plane(margin), SIGMA, seed=seed)
    found = smoothed.certify(MIDDLE, n=20_000)
    assert found.prediction == int(margin > 0)
    assert 0.9 * abs(margin) < found.radius < abs(margin)
    assert found.radius == certified_radius(found.votes, found.n, sigma=SIGMA, alpha=0.001)
    assert smoothed.predict(MIDDLE, n=2000) == int(margin > 0)


def test_more_than_the_margin_is_certified_as_rarely_as_alpha_says() -> None:
    smoothed = Smoothed(Plane(0.2), SIGMA)
    made = [smoothed.certify(MIDDLE, index=i, n0=9, n=150, alpha=0.2) for i in range(150)]
    wrong = sum(c.radius > 0.2 or c.prediction == 0 for c in made)
    # Clopper and Pearson's bound is a little too careful, for votes are whole numbers.
    assert 0.07 * 150 < wrong < 0.27 * 150


def test_on_the_plane_it_abstains() -> None:
    found = certify(margin=0.0, n=1000)
    assert (found.prediction, found.radius, found.n) == (ABSTAIN, 0.0, 1000)
    assert Smoothed(Plane(0.0), SIGMA).predict(MIDDLE, n=1000) is ABSTAIN


def test_all_votes_certify_a_finite_radius() -> None:
    found = certify(margin=9.0, n=100)
    assert (found.prediction, found.votes, found.n) == (1, 100, 100)
    assert found.radius == pytest.approx(SIGMA * 1.500475, rel=1e-6)


def test_one_sample_certifies_nothing() -> None:
    assert certify(margin=9.0, n0=1, n=1) == ticketkit.Certificate(ABSTAIN, 0.0, 1, 1)


@given(MARGINS, st.integers(1, 400), st.floats(0, 0.6), st.integers(1, 90), st.integers(0, 5))
@LAW
def test_a_radius_asked_for_is_reached_exactly_where_all_samples_reach_it(
    margin: float, n: int, radius: float, batch: int, index: int
) -> None:
    whole = certify(margin, index=index, n=n)
    found = certify(margin, batch, index=index, n=n, radius=radius)
    assert found == certify(margin, index=index, n=n, radius=radius)
    assert found.n <= n
    if whole.prediction is ABSTAIN or whole.radius < radius:
        assert (found.prediction, found.radius) == (ABSTAIN, 0.0)
    else:
        assert found.prediction == whole.prediction
        assert radius <= found.radius <= whole.radius


@pytest.mark.parametrize("radius", [0.0, 0.3, 0.74])
def test_with_a_radius_it_stops_early(radius: float) -> None:
    found = certify(margin=0.11, n=50_000, radius=radius)
    needed = fewest_votes(radius, 50_000, sigma=SIGMA, alpha=0.001)
    share = NormalDist().cdf(0.11 / SIGMA)  # of votes; the first radius alone is within reach
    expected = (50_000 - needed) / (1 - share) if radius else needed / share
    assert (found.prediction == 1) == (radius == 0)
    assert found.n == pytest.approx(expected, rel=0.1)


def test_a_radius_that_no_votes_certify_takes_no_more_than_a_batch() -> None:
    model = Plane(9.0)
    found = Smoothed(model, SIGMA).certify(MIDDLE, n0=10, n=100, radius=5.0)
    assert found.prediction is ABSTAIN
    assert sum(map(len, model.seen)) <= 20


@given(st.integers(1, 800), st.integers(1, 800))
@LAW
def test_the_noise_is_the_same_whatever_the_batch_and_the_number_of_samples(
    batch: int, n: int
) -> None:
    assert torch.equal(seen(batch, n), seen(n=800)[:n])


@pytest.mark.parametrize("side", [1, 5, 150, 300])  # 300 x 300: noise is drawn copy by copy
def test_so_it_is_for_pictures_of_any_size(side: int) -> None:
    class Mean(Plane):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.seen.append(inputs.flatten(1)[:, -4:].clone())
            mean = inputs.flatten(1)[:, :1]
            return torch.cat([mean, 1 - mean], 1)

    found = []
    for batch in (None, 1, 7):
        model = Mean(0)
        Smoothed(model, SIGMA, batch=batch).predict(torch.full((1, side, side), 0.5), n=40)
        found.append(torch.cat(model.seen))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_batches_of_large_pictures_are_small() -> None:
    sizes: list[int] = []
    model = nn.Sequential(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten())
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    Smoothed(model, SIGMA).predict(torch.full((1, 2048, 1024), 0.5), n=5)
    assert sizes == [2, 2, 1]
    sizes.clear()
    Smoothed(model, SIGMA, batch=64).predict(MIDDLE, n=2000)
    assert sizes[:3] == [4, 4, 8]
    assert 8 <= max(sizes) <= 64


@given(st.integers(1, 9), st.integers(1, 40))
@LAW
def test_no_pass_is_larger_than_a_batch_and_none_has_one_sample_unless_it_must(
    batch: int, n: int
) -> None:
    sizes: list[int] = []
    model = Plane(0.1)
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    Smoothed(model, SIGMA, batch=batch).predict(MIDDLE, n=n)
    assert sum(sizes) == n
    assert max(sizes) <= batch
    assert 1 not in sizes or batch <= 2 or n == 1


def test_the_noise_is_normal_of_deviation_sigma_and_is_not_clipped() -> None:
    noise = (seen(n=10_000) - 0.5) / SIGMA
    assert noise.shape == (10_000, 1, 2, 2)
    flat = noise.flatten(1)
    torch.testing.assert_close(flat.T.cov(), torch.eye(4), atol=0.05, rtol=0)
    torch.testing.assert_close(flat.mean(0), torch.zeros(4), atol=0.05, rtol=0)
    assert (noise < -2).float().mean().item() == pytest.approx(NormalDist().cdf(-2), rel=0.15)
    neighbours = (flat[1:] * flat[:-1]).mean(0)
    torch.testing.assert_close(neighbours, torch.zeros(4), atol=0.05, rtol=0)


def test_seed_picture_and_purpose_have_noise_of_their_own() -> None:
    model = Plane(0.1)
    Smoothed(model, SIGMA).certify(MIDDLE, n0=50, n=50)
    Smoothed(model, SIGMA).certify(MIDDLE, n0=50, n=50, index=1)
    Smoothed(model, SIGMA, seed=1).certify(MIDDLE, n0=50, n=50)
    Smoothed(model, SIGMA).predict(MIDDLE, n=50)
    pictures = torch.cat(model.seen).flatten(1)
    assert len(set(map(tuple, pictures.tolist()))) == len(pictures) == 350


@given(st.integers(0, 99), st.integers(1, 200), st.floats(1e-6, 0.99))
@LAW
def test_predict_is_the_exact_two_sided_test_of_the_two_with_most_votes(
    seed: int, n: int, alpha: float
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
    answers: list[int] = []
    model.register_forward_hook(lambda *call: answers.extend(call[2].argmax(1).tolist()))
    found = Smoothed(model, SIGMA).predict(MIDDLE, n=n, alpha=alpha)
    (top, most), *others = Counter(answers).most_common(2)
    total = most + (others[0][1] if others else 0)
    ways = sum(math.comb(total, k) for k in range(most, total + 1))
    p = min(Fraction(1), Fraction(2 * ways, 2**total))
    assert found == (top if p <= alpha else ABSTAIN)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    model = cases.runnable().train(training)
    model["norm"].train(not training)
    before = cases.snapshot(model)
    smoothed = Smoothed(model, SIGMA)
    picture = cases.pictures()[0][0]
    first = smoothed.certify(picture, n=200)
    assert cases.snapshot(model) == before
    assert Smoothed(model.eval(), SIGMA).certify(picture, n=200) == first
    with torch.no_grad():
        next(model["linear"].parameters()).fill_(torch.nan)
    before = cases.snapshot(model)
    with pytest.raises(ticketkit.EvaluationError, match="sample 7: the network's output is NaN"):
        smoothed.certify(picture, index=7)
    assert cases.snapshot(model) == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_of_other_dtypes_are_certified_about_alike(dtype: torch.dtype) -> None:
    expected = certify(0.2, n=2000)
    found = Smoothed(Plane(0.2).to(dtype), SIGMA).certify(MIDDLE, n=2000)
    assert found.radius == pytest.approx(expected.radius, abs=0.01)


def test_pictures_in_bytes_are_divided_by_255() -> None:
    smoothed = Smoothed(Plane(0.2), SIGMA)
    picture = torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8)
    assert smoothed.certify(picture, n=500) == smoothed.certify(picture / 255, n=500)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"n0": 0}, "n0 is a whole number of 1 or more, found 0"),
        ({"n": -1}, "n is a whole number of 1 or more, found -1"),
        ({"n": 100.0}, r"n is a whole number of 1 or more, found 100\.0"),
        ({"alpha": 0.0}, r"alpha lies between 0 and 1, such as 0\.001; found 0\.0"),
        ({"alpha": 1.0}, r"alpha .* found 1\.0"),
        ({"alpha": math.nan}, "alpha .* found nan"),
        ({"radius": -0.5}, r"a radius is a finite number of 0 or more, found -0\.5"),
        ({"radius": math.inf}, "a radius .* found inf"),
        ({"sigma": 0.0}, r"sigma is a finite number above 0, found 0\.0"),
        ({"sigma": "0.25"}, r"sigma is a number, found '0\.25'"),
        ({"alpha": None}, "alpha is a number, found None"),
        ({"sigma": -0.25}, r"sigma .* found -0\.25"),
        ({"sigma": math.nan}, "sigma .* found nan"),
        ({"batch": 0}, "batch is a whole number of 1 or more, found 0"),
    ],
)
def test_numbers_without_meaning_are_refused(options: dict[str, Any], told: str) -> None:
    model = Plane(0.1)
    made = {key: options.pop(key) for key in ("sigma", "batch") if key in options}
    with pytest.raises(ticketkit.UsageError, match=told):
        Smoothed(model, **{"sigma": SIGMA, **made}).certify(MIDDLE, **options)
    assert not model.seen


def test_predict_refuses_them_as_well() -> None:
    with pytest.raises(ticketkit.UsageError, match="n is a whole number"):
        Smoothed(Plane(0.1), SIGMA).predict(MIDDLE, n=0)
    with pytest.raises(ticketkit.UsageError, match="alpha lies between"):
        Smoothed(Plane(0.1), SIGMA).predict(MIDDLE, alpha=2)


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (MIDDLE * 3, r"pixels in \[0, 1\], found 1\.5 to 1\.5; the network normalises by itself"),
        (MIDDLE * torch.nan, "found nan"),
        (torch.ones(1, 2, 2, dtype=torch.int64), "floating pixels"),
        (torch.zeros(1, 0, 2), r"a picture is a tensor of pixels, \(channels, height, width\)"),
        ([[0.5]], r"a picture is a tensor of pixels, .* found list"),
        (MIDDLE[None], r"\(channels, height, width\), found shape \[1, 1, 2, 2\]"),
    ],
)
def test_what_is_no_picture_is_refused(picture: Any, told: str) -> None:
    with pytest.raises(ticketkit.InputError, match=told):
        Smoothed(Plane(0.1), SIGMA).certify(picture)


@pytest.mark.parametrize(
    "model", [nn.Conv2d(1, 3, 1), nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), nn.Flatten(0)]
)
def test_outputs_that_are_no_scores_of_classes_are_refused(model: nn.Module) -> None:
    told = r"smoothing takes outputs \(batch, classes\) of two or more classes, found"
    with pytest.raises(ticketkit.EvaluationError, match=told):
        Smoothed(model, SIGMA).certify(MIDDLE)


def test_a_network_that_does_not_take_the_picture_names_it() -> None:
    with pytest.raises(ticketkit.UsageError, match="sample 3: the network failed on its"):
        Smoothed(nn.Linear(3, 2), SIGMA).certify(MIDDLE, index=3)
