"""Evaluator `adversarial`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import ticketkit
from tests.core.networks import network, pictures
from ticketkit.testing import EvaluatorLaws, cases
from ticketkit_plugins.evaluators.adversarial import Adversarial


class TestAdversarial(EvaluatorLaws):
    part = Adversarial(eps=(0.1,), steps=(1, 2))


class TestAdversarialOfPixels(EvaluatorLaws):
    part = Adversarial("l2", eps=(0.5,), steps=(1, 2), metric="miou")
    segmentation = True


class TwoSides(nn.Module):
    """Which side of the plane w x = 1/2 a picture of two pixels lies on: a linear classifier."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 0.0]))
        self.slope = slope

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        margin = self.slope * (inputs.flatten(1) @ self.weight - 0.5)
        return torch.stack([-margin, margin], 1)


def line(count: int = 100) -> TensorDataset:
    """Pictures of two pixels whose first one goes from 0 to 1, right of 1/2 of class 1."""
    first = (torch.arange(count) + 0.5) / count
    images = torch.stack([first, torch.full_like(first, 0.5)], 1).reshape(count, 1, 1, 2)
    return TensorDataset(images, (first > 0.5).long())


def measured(model: nn.Module, data: Any, part: Adversarial, seed: int = 0) -> ticketkit.Figures:
    return next(iter(ticketkit.evaluate(model, data, [part], seed=seed).values()))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("eps", [0.0, 0.1, 0.2, 0.494])
def test_of_a_linear_network_those_remain_that_are_farther_than_eps(norm: Any, eps: float) -> None:
    part = Adversarial(norm, eps=(eps,), steps=(1, 10))
    found = measured(TwoSides(), line(), part)
    far = sum(abs((i + 0.5) / 100 - 0.5) > eps for i in range(100)) / 100
    assert [figure.value for figure in found.values()] == [far, far, 1]
    assert {(figure.unit, figure.n, figure.better) for figure in found.values()} == {
        ("share", 100, "higher")
    }


def test_figures_are_named_after_attack_and_radius() -> None:
    data = line(20)
    assert list(measured(TwoSides(), data, Adversarial())) == [
        *("fgsm-8", "pgd10-8", "pgd20-8", "clean")
    ]
    part = Adversarial("l2", (0.25, 1.0), (1,), random_start=True)
    assert list(measured(TwoSides(), data, part)) == ["pgd1-l2-0.25", "pgd1-l2-1", "clean"]


def test_fgsm_is_one_step_to_the_boundary_along_the_sign_of_the_gradient() -> None:
    model, data = network(), pictures(80)
    images = (data.images.float() / 255).requires_grad_()
    model.eval()
    nn.functional.cross_entropy(model(images), data.targets, reduction="sum").backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    moved = (images.detach() + 0.1 * images.grad.sign()).clamp(0, 1)
    right = int((model(moved).argmax(1) == data.targets).sum())
    found = measured(model, data, Adversarial(eps=(0.1,), steps=(1,)))
    assert (found["fgsm-25.5"].value, found["fgsm-25.5"].n) == (right / 80, 80)
    low, high = ticketkit.wilson(right, 80)
    assert (found["fgsm-25.5"].low, found["fgsm-25.5"].high) == (low, high)


def test_the_same_pictures_are_attacked_whatever_the_batch_and_the_network_is_left_alone() -> None:
    model, data = network().train(), pictures(230)
    before = cases.snapshot(model)
    part = Adversarial(eps=(0.05,), steps=(2,), count=210)
    one, other = (ticketkit.evaluate(model, data, [part], batch=n) for n in (7, 999))
    assert one == other
    (figures,) = one.values()
    assert {figure.n for figure in figures.values()} == {210}
    assert cases.snapshot(model) == before
    assert figures == measured(model, data, part)
    everything = measured(model, data, Adversarial(eps=(0.05,), steps=(2,), count=None))
    assert everything["clean"].n == 230


class Steep(TwoSides):
    """So sure of itself that its loss is 0 in floating point, and so are the gradients."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 1e7 * super().forward(inputs)


class Rounding(TwoSides):
    """Its gradient leads from the picture to where it is right: pixels are read as complements."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs.detach() * 2 - inputs)


@pytest.mark.parametrize("model", [Steep(), Rounding()])
def test_gradients_that_mislead_are_told_as_masked(model: nn.Module) -> None:
    part = Adversarial(eps=(0.3,), steps=(1, 10))
    with pytest.warns(UserWarning, match="gradients are masked: .* withstand an attack without"):
        assert measured(model, line(), part)["fgsm-76.5"].value == 1


def test_a_stronger_attack_that_does_less_harm_is_told() -> None:
    class Ridge(TwoSides):
        """Small steps end on a low ridge at 0.7; beyond 0.9, where one long step leads, it errs."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            first = inputs.flatten(1)[:, :1]
            margin = torch.where(first < 0.9, -0.5 - (first - 0.7).abs(), 1.0)
            return torch.cat([-margin, margin], 1)

    data = TensorDataset(torch.full((20, 1, 1, 2), 0.5), torch.zeros(20).long())
    part = Adversarial(eps=(0.45,), steps=(1, 10), random_start=False)
    told = r"masked: pgd10-114\.8 leaves 100\.0 % right, where fgsm-114\.8 leaves 0\.0 %"
    with pytest.warns(UserWarning, match=told):
        found = measured(Ridge(), data, part)
    assert [figure.value for figure in found.values()] == [0, 1, 1]


class Coin(TwoSides):
    """Tosses a coin for each picture, by digits of its pixels that no gradient tells of."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        heads = (inputs.flatten(1).sum(1) * 1e4).round() % 2
        margin = heads + 0 * super().forward(inputs)[:, 0]
        return torch.stack([0.5 - margin, margin - 0.5], 1)


def test_a_rise_that_chance_explains_is_not_told() -> None:
    found = measured(Coin(), line(), Adversarial(eps=(0.1,), steps=(1, 10)), seed=8)
    weaker, stronger = found["fgsm-25.5"], found["pgd10-25.5"]
    assert weaker.high is not None
    assert weaker.value < stronger.value < weaker.high


def test_an_attack_without_bounds_that_chance_withstands_is_not_told() -> None:
    # Its answers alternate, and more than half of the labels agree.
    images = torch.tensor([[i / 1e4, 0.5] for i in range(100)]).reshape(100, 1, 1, 2)
    labels = Coin()(images).argmax(1)
    labels[:45] = 1 - labels[:45]
    part = Adversarial(eps=(1.0,), steps=(10,), random_start=False)  # that is: without bounds
    found = measured(Coin(), TensorDataset(images, labels), part)["pgd10-255"]
    assert found.low is not None
    assert labels.bincount().max() <= 52  # what one answer to all gets right
    assert found.low < 0.52 < found.value == 0.55


def test_a_network_of_one_answer_is_not_suspected() -> None:
    class Constant(TwoSides):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs) * 0 + torch.tensor([1.0, 0.0])

    found = measured(Constant(), line(), Adversarial(steps=(2,)))
    assert {figure.value for figure in found.values()} == {0.5}


def test_a_segmentation_is_attacked_by_its_own_metric() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(2, 3, 1)
    images = torch.rand(6, 2, 4, 4)
    data = TensorDataset(images, model(images).argmax(1))
    found = measured(model, data, Adversarial(eps=(0.2,), steps=(5,), metric="miou"))
    assert found["clean"].value == 1 > found["pgd5-51"].value
    assert found["clean"].low == 1


def test_pixels_without_a_class_are_no_answer_to_all() -> None:
    class ByPlace(nn.Conv2d):
        """Answers by the place of a pixel, whatever the picture: one pixel of ten is wrong."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            scores = torch.zeros(2, 10, 10)
            scores[1, :6] = 1
            return scores + 0 * super().forward(inputs)

    targets = torch.full((4, 10, 10), 255)
    targets[:, :, 0] = (torch.arange(10) < 5).long()
    data = TensorDataset(torch.full((4, 1, 10, 10), 0.5), targets)
    part = Adversarial(eps=(0.1,), steps=(1,), metric="miou")
    with pytest.warns(UserWarning, match=r"masked: 81\.7 % of 4 pictures withstand"):
        found = measured(ByPlace(1, 2, 1), data, part)
    assert found["clean"].value == pytest.approx((5 / 6 + 4 / 5) / 2)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("eps=-1", "eps is a finite number of 0 or more, found -1.0"),
        ("steps=-1", "steps is a whole number of 0 or more, found -1"),
        ("count=0", "adversarial: count is a whole number from 1, found 0"),
        ("restarts=0", "restarts is a whole number of 1 or more"),
        ("norm=l1", "norm is one of linf, l2, found 'l1'"),
        ("metric=acuracy", "unknown evaluator 'acuracy'"),
        ("metric=cost", "metric is an evaluator of outputs alone, such as accuracy, found 'cost'"),
        ("metric=adversarial", "outputs alone"),
        ("eps=8", r"adversarial: eps is in pixels of \[0, 1\], such as 8/255, found 8"),
        ("step=0", "adversarial: a step of 0 attacks nothing"),
        ("eps=0.1+0.100000001", "adversarial: two attacks are one, or have one name"),
        ("eps=", "adversarial needs an eps and a number of steps, or more"),
    ],
)
def test_what_is_no_attack_is_refused(spec: str, told: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=told):
        ticketkit.resolve("evaluator", f"adversarial:{spec}")


# Fault row 39
def test_pictures_that_were_normalised_already_are_refused() -> None:
    data = TensorDataset(torch.randn(5, 1, 1, 2), torch.zeros(5).long())
    with pytest.raises(ticketkit.InputError, match=r"inputs are pixels in \[0, 1\], found"):
        measured(TwoSides(), data, Adversarial())


# Fault row 39
def test_a_step_longer_than_the_ball_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="longer than the ball is wide"):
        part = Adversarial(eps=(0.1,), steps=(2,), step=0.3)
    assert list(measured(TwoSides(), line(), part)) == ["pgd2-25.5", "clean"]  # and not again


def test_batches_of_a_loader_s_kind_and_unknown_metrics_are_refused() -> None:
    model, data = TwoSides(), line()
    with pytest.raises(ticketkit.UsageError, match="a sample is taken of a data set, found list"):
        measured(model, [(data.tensors[0], data.tensors[1])], Adversarial())
    with pytest.raises(ticketkit.UsageError, match=r"no figure 'accuracy\.top3' was measured"):
        measured(model, data, Adversarial(metric="accuracy.top3"))


def test_what_is_measured_may_be_a_figure_of_an_evaluator() -> None:
    found = measured(TwoSides(), line(), Adversarial(steps=(2,), metric="accuracy.per_class"))
    plain = ticketkit.evaluate(TwoSides(), line(), ["accuracy"])["accuracy"]
    assert found["clean"] == plain["per_class"] != plain["top1"]


@pytest.mark.parametrize("metric", ["calibration", "calibration.nll"])
def test_a_metric_that_is_no_share_of_what_is_right_is_refused(metric: str) -> None:
    told = rf"metric is a share of what is right, such as accuracy, found '{metric}'"
    with pytest.raises(ticketkit.UsageError, match=told):
        measured(TwoSides(), line(), Adversarial(metric=metric))


# Fault row 39
def test_no_radius_and_no_steps_are_the_clean_accuracy_of_a_network_that_sees_the_batch() -> None:
    class Counting(TwoSides):
        """Right as long as a batch has 200 pictures at most, as attacks have them."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs) * (1 if len(inputs) <= 200 else -1)

    part = Adversarial(eps=(0.0, 0.1), steps=(0, 1), count=None)
    found = measured(Counting(), line(250), part)
    assert found["pgd0-0"] == found["fgsm-0"] == found["pgd0-25.5"] == found["clean"]
