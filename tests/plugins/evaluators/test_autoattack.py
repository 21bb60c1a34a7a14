"""Evaluator `autoattack`."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import ticketkit
from ticketkit.testing import EvaluatorLaws, cases
from ticketkit_plugins.evaluators.autoattack import AutoAttack


@pytest.mark.slow
class TestAutoAttack(EvaluatorLaws):
    part = AutoAttack(eps=0.1)


class Brightest(nn.Module):
    """The class of the brightest of the first pixels: a linear classifier of 8 x 8 pixels."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(64)[:, :classes].clone())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 5 * inputs.flatten(1) @ self.weight


def margins(*found: float) -> TensorDataset:
    """Grey pictures with one pixel that is brighter by a margin."""
    images = torch.full((len(found), 1, 8, 8), 0.3)
    images[:, 0, 0, 1] += torch.tensor(found)
    return TensorDataset(images, torch.ones(len(found)).long())


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "needed"), [("linf", 0.5), ("l2", 0.5**0.5)])
def test_of_a_linear_network_those_remain_whose_margin_is_too_large(
    norm: Any, needed: float
) -> None:
    """To move past another pixel takes half the margin in each, or its length."""
    model, data = Brightest(), margins(0.1, 0.2, 0.3, 0.6)
    before, generator = cases.snapshot(model), torch.random.get_rng_state()
    (figures,) = ticketkit.evaluate(model, data, [AutoAttack(norm, 0.4 * needed)]).values()
    name = {"linf": "autoattack-51", "l2": "autoattack-l2-0.2828"}[norm]
    assert list(figures) == [name, "clean"]
    assert [figure.value for figure in figures.values()] == [0.25, 1]
    assert (figures[name].low, figures[name].high) == ticketkit.wilson(1, 4)
    assert cases.snapshot(model) == before
    assert torch.equal(torch.random.get_rng_state(), generator)
    log = logging.getLogger("auto-attack")
    assert (log.handlers, log.propagate) == ([], True)


class Fixed(nn.Module):
    """The same without parameters."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 5 * inputs.flatten(1)[:, :4]


@pytest.mark.parametrize("model", [Fixed(), Brightest().double(), Brightest().bfloat16()])
def test_networks_without_parameters_and_of_any_dtype_are_attacked(model: nn.Module) -> None:
    images, labels = margins(0.1, 0.2, 0.3).tensors
    for pictures in (images, (255 * images).round().byte(), images.double()):
        data = TensorDataset(pictures, labels)
        (figures,) = ticketkit.evaluate(model, data, [AutoAttack(eps=0.2)]).values()
        assert [figure.value for figure in figures.values()] == [0, 1]


def test_a_network_of_few_classes_is_refused() -> None:
    told = "autoattack needs 4 classes or more, found 3"
    with pytest.raises(ticketkit.EvaluationError, match=told):
        ticketkit.evaluate(Brightest(3), margins(0.1), [AutoAttack()])


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(ticketkit.UsageError, match=r"pip install 'ticketkit\[autoattack\]'"):
        ticketkit.evaluate(Brightest(), margins(0.1), [AutoAttack()])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("eps=0", "autoattack: eps is above 0"),
        ("eps=-0.5", "eps is a finite number of 0 or more, found -0.5"),
        ("norm=l1", "norm is one of linf, l2"),
        ("count=0", "count is a whole number from 1"),
    ],
)
def test_what_is_no_attack_is_refused(spec: str, told: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=told):
        ticketkit.resolve("evaluator", f"autoattack:{spec}")


def test_pictures_that_were_normalised_already_are_refused() -> None:
    data = margins(0.1)
    negative = TensorDataset(-data.tensors[0], data.tensors[1])
    with pytest.raises(ticketkit.InputError, match=r"inputs are pixels in \[0, 1\]"):
        ticketkit.evaluate(Brightest(), negative, [AutoAttack()])
