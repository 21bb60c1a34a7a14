"""Evaluator `ood`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torchmetrics.functional
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import ticketkit
from ticketkit.datasets import data_of
from ticketkit.progress import listening
from ticketkit.testing import EvaluatorLaws
from ticketkit_plugins.evaluators.ood import OutOfDistribution, _auroc, _Fitted, _Scores
from ticketkit_plugins.tasks.glyphs import Glyphs

LAW = settings(deadline=None, max_examples=50)


class TestAgainstNoise(EvaluatorLaws):
    part = OutOfDistribution()


class TestAgainstATaskOfGreyPictures(EvaluatorLaws):
    part = OutOfDistribution(("digits", "noise"))


def area(inside: Any, outside: Any) -> ticketkit.Estimate:
    return _auroc([torch.as_tensor(inside).double()], [torch.as_tensor(outside).double()])


def scores(lots: np.random.Generator, count: int, *, whole: bool) -> Any:
    """Some scores; whole numbers tie."""
    found = lots.normal(size=count)
    return found.round() if whole else found


@LAW
@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 99))
def test_the_area_is_scikit_learns_and_torchmetrics(m: int, n: int, whole: bool, seed: int) -> None:
    lots = np.random.default_rng(seed)
    inside, outside = scores(lots, m, whole=whole) + 1, scores(lots, n, whole=whole)
    found = area(inside, outside)
    kinds, both = np.repeat([1, 0], [m, n]), np.concatenate([inside, outside])
    assert found.value == pytest.approx(roc_auc_score(kinds, both), abs=1e-12)
    # Theirs takes scores beyond [0, 1] through a sigmoid: ranks stay apart in it.
    ranks = torch.from_numpy(scipy.stats.rankdata(both) / (m + n + 1))
    theirs: Any = torchmetrics.functional.auroc(ranks, torch.from_numpy(kinds), "binary")
    assert found.value == pytest.approx(theirs.item(), abs=1e-6)
    assert (found.n, found.unit, found.better) == (m + n, "share", "higher")


@LAW
@given(st.integers(2, 25), st.integers(2, 25), st.booleans(), st.integers(0, 99))
def test_the_interval_is_delongs_of_every_pair(m: int, n: int, whole: bool, seed: int) -> None:
    lots = np.random.default_rng(seed)
    inside, outside = scores(lots, m, whole=whole) + 0.5, scores(lots, n, whole=whole)
    wins = np.array([[(x > y) + (x == y) / 2 for y in outside] for x in inside])
    variance = np.var(wins.mean(1), ddof=1) / m + np.var(wins.mean(0), ddof=1) / n
    half = scipy.stats.norm.ppf(0.975) * variance**0.5
    found = area(inside, outside)
    if half < 1e-9:
        assert (found.low, found.high) == (None, None)
    else:
        wanted = (max(0, wins.mean() - half), min(1, wins.mean() + half))
        assert (found.low, found.high) == pytest.approx(wanted, abs=1e-12)


def test_the_interval_is_a_bootstraps() -> None:
    lots = np.random.default_rng(0)
    inside, outside = lots.normal(0.7, size=150), lots.normal(size=250)
    pairs = inside[:, None] > outside
    areas = [
        pairs[lots.integers(150, size=150)][:, lots.integers(250, size=250)].mean()
        for _ in range(2000)
    ]
    found = area(inside, outside)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(areas), rel=0.1)


@pytest.mark.parametrize(
    ("inside", "outside", "value"),
    [([2, 3], [0, 1], 1), ([0, 1], [2, 3], 0), ([5, 5], [5, 5], 0.5), ([1], [0, 2, 3], 1 / 3)],
)
def test_what_varies_nowhere_or_is_alone_has_no_interval(
    inside: list[float], outside: list[float], value: float
) -> None:
    found = area(inside, outside)
    assert (found.value, found.low, found.high) == (value, None, None)


@pytest.mark.parametrize(("inside", "outside"), [([], [torch.ones(1)]), ([torch.ones(1)], [])])
def test_of_one_kind_alone_there_is_no_area(inside: Any, outside: Any) -> None:
    with pytest.raises(ticketkit.EvaluationError, match="needs in- and out-of-distribution sampl"):
        _auroc(inside, outside)


def gathered(outputs: torch.Tensor) -> _Scores:
    found = _Scores()
    found.update(outputs, torch.zeros(len(outputs)).long())
    return found


@LAW
@given(st.integers(2, 12), st.integers(0, 99))
def test_scores_rank_as_the_highest_probability_and_as_minus_the_energy(
    classes: int, seed: int
) -> None:
    outputs = 3 * torch.randn(50, classes, generator=torch.Generator().manual_seed(seed))
    found, wide = gathered(outputs), outputs.double().numpy()
    highest = scipy.special.softmax(wide, 1).max(1)
    assert scipy.special.expit(found.msp[0].numpy()) == pytest.approx(highest)
    assert found.energy[0].numpy() == pytest.approx(scipy.special.logsumexp(wide, 1))


def test_probabilities_that_no_float_tells_apart_are_no_ties() -> None:
    sure, surer = gathered(torch.tensor([[40.0, 0]])), gathered(torch.tensor([[50.0, 0]]))
    assert torch.tensor([40.0, 0]).double().softmax(0)[0] == 1
    assert area(surer.msp[0], sure.msp[0]).value == 1


class Colours(nn.Module):
    """Two classes by the mean of all channels, and what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.seen.append(pictures)
        bright = 9 * (pictures.mean((1, 2, 3)) - 0.5)
        return torch.stack([bright, -bright], 1)


def bright(count: int = 40, *shape: int) -> TensorDataset:
    """Bright and dark pictures: a network of `Colours` is sure of them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    images = torch.rand(count, *(shape or (3, 8, 8)), generator=generator) / 4
    images += 0.75 * (1 - labels[:, None, None, None])
    return TensorDataset(images, labels)


def measured(spec: str = "ood", data: Any = None, **options: Any) -> ticketkit.Figures:
    data = bright() if data is None else data
    return ticketkit.evaluate(Colours(), data, [spec], **options)[spec]


def test_noise_is_normal_and_clipped_and_as_much_as_there_is_data() -> None:
    model = Colours()
    found = ticketkit.evaluate(model, bright(400), ["ood"], batch=150)["ood"]
    noise = torch.cat(model.seen)[400:]
    assert noise.shape == (400, 3, 8, 8)
    assert (noise == 0).double().mean().item() == pytest.approx(
        scipy.stats.norm.cdf(-0.5), abs=0.01
    )
    assert (noise == 1).double().mean().item() == pytest.approx(
        scipy.stats.norm.cdf(-0.5), abs=0.01
    )
    within = noise[(noise > 0) & (noise < 1)].double().numpy()
    law = scipy.stats.truncnorm(-0.5, 0.5, loc=0.5)
    assert scipy.stats.kstest(within[::20], law.cdf).pvalue > 0.01
    assert len({picture.numpy().tobytes() for picture in noise}) == 400
    assert (found["noise.msp"].value, found["noise.msp"].n) == (1, 800)


def test_noise_depends_on_the_seed_and_on_no_batch() -> None:
    data = TensorDataset(torch.rand(40, 3, 8, 8), torch.zeros(40).long())
    once, again = measured(data=data), measured(data=data, batch=7)
    assert once["noise.msp"].value == pytest.approx(again["noise.msp"].value)
    assert measured(data=data, seed=1)["noise.msp"].value != once["noise.msp"].value


def test_each_set_has_both_scores_in_the_order_that_was_asked_for() -> None:
    found = measured("ood:against=digits+noise+glyphs")
    names = ["digits", "noise", "glyphs"]
    assert list(found) == [f"{name}.{score}" for name in names for score in ("msp", "energy")]
    assert found["digits.msp"].n == 40 + len(data_of(digits()).test)  # type: ignore[arg-type]
    assert found["noise.energy"] == measured("ood:against=noise+digits")["noise.energy"]


def digits() -> Any:
    return ticketkit.resolve("task", "digits")


def test_the_data_against_itself_are_no_better_than_chance() -> None:
    images = Glyphs().splits(None)["test"].images
    data = TensorDataset(images, torch.zeros(len(images)).long())
    found = measured("ood:against=glyphs", data=data)
    assert found["glyphs.msp"].value == 0.5
    assert found["glyphs.energy"].value == 0.5


def test_pictures_of_another_size_are_resized_as_pillow_does() -> None:
    image = torch.rand(1, 20, 30, generator=torch.Generator().manual_seed(0))
    found, target = _Fitted("set", [(image, 7)], (1, 8, 9))[0]
    theirs = Image.fromarray(image[0].numpy()).resize((9, 8), Image.Resampling.BILINEAR)
    assert np.asarray(theirs) == pytest.approx(found[0].numpy(), abs=1e-5)
    assert target == 0


def test_grey_is_repeated_and_colours_are_averaged_and_others_are_told() -> None:
    grey = torch.randint(256, (1, 4, 4)).byte()
    found, _ = _Fitted("set", [(grey, 0)], (3, 4, 4))[0]
    assert torch.equal(found, (grey.float() / 255).expand(3, 4, 4))
    colours = torch.rand(3, 4, 4)
    assert torch.equal(_Fitted("set", [(colours, 0)], (3, 4, 4))[0][0], colours)
    found, _ = _Fitted("set", [(colours, 0)], (1, 4, 4))[0]
    assert torch.equal(found, colours.mean(0, keepdim=True))
    told = "pictures of set have 3 channels, the data's 4"
    with pytest.raises(ticketkit.EvaluationError, match=told):
        _Fitted("set", [(colours, 0)], (4, 4, 4))[0]


def test_sets_of_another_kind_are_told() -> None:
    with pytest.raises(ticketkit.EvaluationError, match=r"ood takes outputs \(batch, classes\)"):
        ticketkit.evaluate(nn.Conv2d(3, 2, 1), maps(), ["ood"])
    vectors = TensorDataset(torch.rand(4, 6), torch.zeros(4).long())
    with pytest.raises(ticketkit.EvaluationError, match=r"ood takes pictures.*found \(6,\)"):
        ticketkit.evaluate(nn.Linear(6, 2), vectors, ["ood"])


def maps() -> Dataset[Any]:
    return TensorDataset(torch.rand(4, 3, 5, 5), torch.zeros(4, 5, 5).long())


@pytest.mark.parametrize(
    ("spec", "error", "told"),
    [
        ("ood:against=", ticketkit.UsageError, "one set or more, each once, found none"),
        ("ood:against=noise+noise", ticketkit.UsageError, r"each once, found noise\+noise"),
        ("ood:against=glyfs", ticketkit.UnknownPart, "unknown task 'glyfs'.*'glyphs'"),
    ],
)
def test_sets_that_are_none_are_told_before_anything_runs(
    spec: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        measured(spec, data=[])


def test_a_set_whose_data_is_missing_is_told_before_any_other_runs(tmp_path: Path) -> None:
    model = Colours()
    with pytest.raises(ticketkit.InputError, match="no data of svhn"):
        ticketkit.evaluate(model, bright(), ["ood:against=noise+svhn"], root=tmp_path)
    assert sum(map(len, model.seen)) == 40


def test_its_progress_is_told_set_by_set() -> None:
    heard: dict[str, list[int]] = {}

    @contextlib.contextmanager
    def listener(what: str, total: int, unit: str) -> Iterator[Any]:
        heard[what] = [total]
        yield heard[what].append

    with listening(listener):
        measured("ood:against=noise+digits", batch=30)
    assert heard["noise"] == [40, 20, 20]
    assert heard["digits"][0] == sum(heard["digits"][1:]) > 40
