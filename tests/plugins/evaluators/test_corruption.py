"""Evaluator `corruption`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ticketkit
from ticketkit.progress import listening
from ticketkit.testing import EvaluatorLaws, cases
from ticketkit_plugins.evaluators.corruption import Corruption

FEW: dict[str, Any] = {"kinds": ("fog", "contrast", "gaussian_noise"), "severities": (1, 4)}


class TestCorruption(EvaluatorLaws):
    part = Corruption(**FEW)


class TestCorruptionOfPixels(EvaluatorLaws):
    part = Corruption(**FEW, metric="miou")
    segmentation = True


def data(count: int = 40) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 2, 12, 12), generator=generator).byte()
    return TensorDataset(images, torch.randint(4, (count,), generator=generator))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(800, 4))


def measured(
    model: nn.Module, pictures: Any, batch: int = 256, seed: int = 0, **options: Any
) -> Any:
    part = Corruption(**{**FEW, **options})
    (found,) = ticketkit.evaluate(model, pictures, [part], batch=batch, seed=seed).values()
    return found


def test_its_figures_are_means_of_what_a_loop_over_pictures_gets_right() -> None:
    model, (images, labels) = network().eval(), data().tensors
    found = measured(model, data(), batch=7)
    right = {}
    for kind in FEW["kinds"]:
        for severity in FEW["severities"]:
            corrupted = [
                ticketkit.corrupt(images[i : i + 1], kind, severity, first=i) for i in range(40)
            ]
            answers = model(torch.cat(corrupted)).argmax(1)
            right[kind, severity] = int((answers == labels).sum())
    assert found["mean"].value == pytest.approx(sum(right.values()) / (6 * 40))
    for kind in FEW["kinds"]:
        assert found[kind].value == pytest.approx((right[kind, 1] + right[kind, 4]) / 80)
    assert found["severity_4"].value == pytest.approx(
        sum(count for (_, severity), count in right.items() if severity == 4) / 120
    )
    assert list(found) == ["mean", *FEW["kinds"], "severity_1", "severity_4"]
    intervals = [ticketkit.wilson(count, 40) for count in right.values()]
    assert found["mean"].low == pytest.approx(fmean(low for low, _ in intervals))
    assert found["mean"].high == pytest.approx(fmean(high for _, high in intervals))
    assert {(each.n, each.unit, each.better) for each in found.values()} == {
        (40, "share", "higher")
    }


def test_neither_batches_nor_the_form_of_the_data_change_a_figure_but_the_seed_may() -> None:
    model = network()
    expected = measured(model, data())
    assert measured(model, data(), batch=3) == expected
    assert measured(model, ticketkit.Pictures(*data().tensors), count=None) == expected
    hard: Any = {"kinds": ("impulse_noise",), "severities": (5,), "count": None}
    assert measured(model, data(500), **hard) != measured(model, data(500), seed=1, **hard)


class First(nn.Module):
    """Takes every picture for one of the first class."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.eye(4)[[0] * len(pictures)]


def test_by_default_all_fourteen_are_measured_at_five_severities() -> None:
    found = ticketkit.evaluate(First(), data(), ["corruption"])["corruption"]
    severities = [f"severity_{s}" for s in range(1, 6)]
    assert list(found) == ["mean", *ticketkit.CORRUPTIONS, *severities]
    assert len(ticketkit.CORRUPTIONS) == 14


def test_more_corruptions_that_err_on_the_same_pictures_are_no_surer() -> None:
    found, right = measured(First(), data())["mean"], int((data().tensors[1] == 0).sum())
    assert found.value == pytest.approx(right / 40)
    assert (found.low, found.high) == pytest.approx(ticketkit.wilson(right, 40))


def test_500_pictures_are_measured_of_more() -> None:
    few: Any = {"kinds": ("contrast",), "severities": (1,)}
    assert measured(First(), data(501), **few)["mean"].n == 500
    assert measured(First(), data(501), count=None, **few)["mean"].n == 501


def test_a_sample_is_the_same_for_every_network() -> None:
    seen: list[torch.Tensor] = []
    options: Any = {"kinds": ("contrast",), "severities": (1,), "count": 5}
    for seed in (0, 1):
        model = network()
        model.register_forward_hook(lambda module, inputs, outputs: seen.append(inputs[0]))
        assert measured(model, data(), seed=seed, **options)["mean"].n == 5
    assert torch.equal(seen[0], seen[1])
    assert len(seen[0]) == 5


def test_segmentation_is_measured_by_another_metric_and_has_its_intervals() -> None:
    torch.manual_seed(0)
    model, images = nn.Conv2d(2, 3, 1), torch.rand(6, 2, 12, 12)
    labelled = TensorDataset(images, model(images).argmax(1))
    found = measured(model, labelled, kinds=("contrast",), severities=(1, 5), metric="miou")
    clean = ticketkit.evaluate(model, labelled, ["miou"])["miou"]["miou"]
    assert found["severity_5"].value < found["severity_1"].value < clean.value == 1
    ends = [(found[f"severity_{k}"].low, found[f"severity_{k}"].high) for k in (1, 5)]
    lows, highs = zip(*ends, strict=True)
    assert found["mean"].low == pytest.approx(sum(lows) / 2)
    assert found["mean"].high == pytest.approx(sum(highs) / 2)


def test_the_network_and_torchs_generators_are_left_as_they_were() -> None:
    model = cases.runnable().train()
    images = torch.rand(5, 2, 8, 8)
    before, state = cases.snapshot(model), torch.random.get_rng_state()
    with contextlib.suppress(ticketkit.UsageError):
        measured(model, TensorDataset(images, torch.zeros(5).long()))
    assert cases.snapshot(model) == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_progress_counts_each_picture_under_each_corruption_and_severity() -> None:
    told: list[Any] = []

    @contextlib.contextmanager
    def listener(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        told.append((what, total, unit))
        yield told.append

    with listening(listener):
        measured(network(), data(), batch=15)
    assert told[0] == ("corrupting", 40 * 6, "pictures")
    assert sum(told[1:]) == 40 * 6


def test_one_picture_is_enough_and_none_is_not() -> None:
    assert measured(network(), data(1))["mean"].n == 1
    with pytest.raises(ticketkit.EvaluationError, match="there is no data"):
        measured(network(), data(0))


def test_an_answer_that_is_not_finite_is_told_with_its_picture_and_corruption() -> None:
    class Breaks(nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            answers = torch.zeros(len(pictures), 4)
            answers[-1, 2] = torch.nan
            return answers

    with pytest.raises(ticketkit.EvaluationError, match="fog 1: sample 6: the network's output"):
        measured(Breaks(), data(), batch=7)


@pytest.mark.parametrize("count", [None, 5])
def test_batches_of_a_loader_s_kind_are_refused(count: int | None) -> None:
    loader: Any = DataLoader(data(), 11)
    with pytest.raises(ticketkit.UsageError, match="a sample is taken of a data set, found Data"):
        measured(network(), loader, count=count)


def test_what_is_measured_may_be_a_figure_of_an_evaluator() -> None:
    options: Any = {"kinds": ("contrast",), "severities": (3,)}
    model, (images, labels) = network(), data().tensors
    corrupted = TensorDataset(ticketkit.corrupt(images, "contrast", 3), labels)
    expected = ticketkit.evaluate(model, corrupted, ["accuracy", "calibration:bins=3"])
    for metric in ("accuracy.per_class", "calibration:bins=3.nll", "calibration:bins=3"):
        found = measured(model, data(), metric=metric, **options)
        assert found["mean"] == ticketkit.figure_of(expected, metric)
    with pytest.raises(ticketkit.UsageError, match=r"no figure 'accuracy\.top9' was measured"):
        measured(model, data(), metric="accuracy.top9", **options)


def test_pictures_that_are_too_small_are_told() -> None:
    small = TensorDataset(torch.rand(2, 1, 6, 9), torch.zeros(2).long())
    with pytest.raises(ticketkit.InputError, match="picture 0 is 6 x 9 px, too small for fog"):
        measured(nn.Flatten(), small)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("kinds=fog+frost", "frost is left out of the common corruptions: it needs photographs"),
        ("kinds=fogg", "unknown corruption 'fogg'; did you mean 'fog'"),
        ("kinds=fog+fog", "kinds are one or more, each once, found"),
        ("kinds=", "kinds are one or more, each once"),
        ("severities=", "severities are one or more, each once"),
        ("severities=0", "the severity of a corruption is 1, 2, 3, 4 or 5, found 0"),
        ("severities=1+1", "severities are one or more, each once"),
        ("count=0", "corruption: count is a whole number from 1, found 0"),
        ("metric=accurracy", "accuracy"),
        ("metric=cost", "metric is an evaluator of outputs alone, such as accuracy, found 'cost'"),
        ("metric=corruption", "outputs alone"),
    ],
)
def test_options_without_a_meaning_are_refused(options: str, told: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=told):
        ticketkit.resolve("evaluator", f"corruption:{options}")


def test_its_spec_says_what_was_measured() -> None:
    part = ticketkit.resolve("evaluator", "corruption:kinds=fog+snow,severities=5,count=none")
    assert part == Corruption(("fog", "snow"), (5,), None)
    expected = "corruption:kinds=all,severities=1+2+3+4+5,count=500,metric=accuracy"
    assert ticketkit.spec_of(Corruption()) == expected
