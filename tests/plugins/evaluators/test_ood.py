"""Evaluator `ood`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import TensorDataset
from torchmetrics.functional.classification import binary_auroc

import ticketkit
from tests.plugins.tasks.real_files import cifar10
from ticketkit.testing import EvaluatorLaws
from ticketkit_plugins.evaluators.ood import OutOfDistribution, _area, _Scores

LAW = settings(deadline=None, max_examples=50)


class TestOutOfDistribution(EvaluatorLaws):
    part = OutOfDistribution()


class Sure(nn.Module):
    """Of two classes; the surer, the brighter a picture is."""

    def __init__(self, slope: float = 4.0) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        margin = self.slope * inputs.flatten(1).mean(1)
        return torch.stack([margin, -margin], 1)


def bright(count: int = 40, low: float = 0.0, shape: tuple[int, ...] = (1, 8, 8)) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    images = low + (1 - low) * torch.rand((count, 1, 1, 1), generator=generator)
    return TensorDataset(images.expand(count, *shape).clone(), torch.zeros(count).long())


def measured(model: nn.Module, data: Any, *against: str, **options: Any) -> ticketkit.Figures:
    (figures,) = ticketkit.evaluate(model, data, [OutOfDistribution(against)], **options).values()
    return figures


@LAW
@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 99))
def test_an_area_is_scikit_learns_and_torchmetrics_with_ties(
    n: int, m: int, ties: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    inside = torch.randn(n, generator=generator, dtype=torch.float64) + 1
    outside = torch.randn(m, generator=generator, dtype=torch.float64)
    if ties:
        inside, outside = inside.round(), outside.round()
    found = _area(inside, outside)
    truth = torch.cat([torch.ones(n), torch.zeros(m)]).long()
    scores = torch.cat([inside, outside])
    assert found.value == pytest.approx(roc_auc_score(truth, scores))
    # Theirs takes scores beyond 1 for logits: give it ranks.
    ranks = torch.from_numpy(rankdata(scores)) / (n + m)
    assert found.value == pytest.approx(binary_auroc(ranks, truth).item(), abs=1e-6)
    assert (found.n, found.unit, found.better) == (n + m, "share", "higher")
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_both_scores_are_those_of_the_papers() -> None:
    model, data = Sure(), bright()
    found = measured(model, data, "noise")
    noise = torch.stack(
        [
            torch.randn((1, 8, 8), generator=ticketkit.EvaluationContext().generator("noise", i))
            for i in range(40)
        ]
    )
    with torch.no_grad():
        own, other = (model(each).double() for each in (data.tensors[0], (noise + 0.5).clamp(0, 1)))
    truth = [1] * 40 + [0] * 40
    scores: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "msp": lambda outputs: outputs.softmax(1).amax(1),
        "energy": lambda outputs: outputs.exp().sum(1).log(),
    }
    for kind, score in scores.items():
        expected = roc_auc_score(truth, torch.cat([score(own), score(other)]))
        assert found[f"noise.{kind}"].value == pytest.approx(expected)


def test_confident_outputs_are_told_apart_in_float64() -> None:
    """In float32 every highest probability would be 1."""
    model = Sure(16.0)
    found = measured(model, bright(low=0.95), "noise")
    with torch.no_grad():
        assert (model(bright(low=0.95).tensors[0]).softmax(1).amax(1) == 1).all()
    assert found["noise.msp"].value == 1
    assert found["noise.msp"].low < 1  # type: ignore[operator]


def test_probabilities_that_float64_rounds_to_1_are_no_ties() -> None:
    sure, surer = torch.tensor([[40.0, 0.0]]), torch.tensor([[50.0, 0.0]])
    assert sure.double().softmax(1)[0, 0] == 1
    own, other = _Scores(), _Scores()
    own.add(surer)
    other.add(sure)
    assert _area(own.of("msp"), other.of("msp")).value == 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 5, 7)])
def test_other_tasks_are_brought_to_the_shape_of_the_pictures(shape: Any) -> None:
    class Checking(Sure):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            assert inputs.shape[1:] == shape
            assert 0 <= inputs.min() <= inputs.max() <= 1
            return super().forward(inputs)

    found = measured(Checking(), bright(shape=shape), "digits", "noise")
    assert list(found) == ["digits.msp", "digits.energy", "noise.msp", "noise.energy"]
    assert found["digits.msp"].n > 300


def test_large_colour_pictures_become_small_grey_ones_as_in_pillow(tmp_path: Path) -> None:
    """Antialiased, and the mean of the colours."""

    class Seeing(Sure):
        seen: tuple[torch.Tensor, ...] = ()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.seen += (inputs,)
            return super().forward(inputs)

    cifar10(tmp_path)
    model = Seeing()
    measured(model, bright(5, shape=(1, 20, 12)), "cifar10", root=tmp_path)
    test = ticketkit.data_of(ticketkit.resolve("task", "cifar10"), tmp_path).test  # type: ignore[arg-type]
    seen = torch.cat(model.seen)[5:, 0]
    assert len(seen) == len(test)  # type: ignore[arg-type]
    for found, (picture, _) in zip(seen, test, strict=True):  # type: ignore[call-overload]
        grey = Image.fromarray(picture.numpy().mean(0, dtype=np.float32) / 255)
        expected = np.asarray(grey.resize((12, 20), Image.Resampling.BILINEAR))
        assert found.numpy() == pytest.approx(expected, abs=1e-5)


def test_neither_batches_nor_the_order_change_it_and_the_seed_decides() -> None:
    model, data = Sure(), bright()
    found = measured(model, data, "noise", batch=7)
    assert found == measured(model, data, "noise", batch=1000)
    images, labels = data.tensors
    assert found == measured(model, TensorDataset(images.flip(0), labels), "noise")
    assert found != measured(model, data, "noise", seed=1)


def test_own_pictures_against_themselves_are_a_coin_s_toss() -> None:
    digits = ticketkit.data_of(ticketkit.resolve("task", "digits")).test  # type: ignore[arg-type]
    images = torch.stack([picture for picture, _ in digits])  # type: ignore[attr-defined]
    found = measured(Sure(), TensorDataset(images, torch.zeros(len(images)).long()), "digits")
    assert [figure.value for figure in found.values()] == [0.5, 0.5]


def test_unknown_sets_and_none_are_refused() -> None:
    told = r"unknown task 'digit'; .* did you mean 'digits'"
    with pytest.raises(ticketkit.UsageError, match=told):
        ticketkit.resolve("evaluator", "ood:against=noise+digit")
    with pytest.raises(ticketkit.UsageError, match="ood: against names one set or more"):
        ticketkit.resolve("evaluator", "ood:against=")
    with pytest.raises(ticketkit.UsageError, match=r"each once, .*; found noise\+digits\+noise"):
        ticketkit.resolve("evaluator", "ood:against=noise+digits+noise")


def test_a_set_whose_data_is_missing_is_told_before_another_is_measured(tmp_path: Path) -> None:
    passes: list[int] = []
    model = Sure()
    model.register_forward_hook(lambda *_: passes.append(1))
    with pytest.raises(ticketkit.InputError, match="no data of svhn"):
        measured(model, bright(), "noise", "svhn", root=tmp_path)
    assert len(passes) == 1


# Fault row 44
@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], "there is no data"),
        ([(torch.rand(2, 1, 4, 4), torch.tensor([0, 2]))], "sample 1: label 2 is out of range"),
        (
            [(torch.full((1, 1, 4, 4), torch.nan), torch.tensor([0]))],
            "sample 0: .* NaN or infinite",
        ),
    ],
)
def test_what_means_nothing_is_told(data: Any, told: str) -> None:
    with pytest.raises(ticketkit.EvaluationError, match=told):
        measured(Sure(), data, "noise")


def test_what_is_no_picture_is_refused() -> None:
    vectors = TensorDataset(torch.rand(4, 6), torch.zeros(4).long())
    with pytest.raises(ticketkit.EvaluationError, match=r"ood takes pictures .*, found \(6,\)"):
        measured(Sure(), vectors, "noise")


def test_a_segmentation_is_refused() -> None:
    data = TensorDataset(torch.rand(2, 1, 4, 4), torch.zeros(2, 4, 4).long())
    with pytest.raises(ticketkit.EvaluationError, match=r"ood takes outputs \(batch, classes\)"):
        measured(nn.Conv2d(1, 2, 1), data, "noise")
