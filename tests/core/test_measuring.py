"""Measures as result files hold them."""

from __future__ import annotations

import warnings
from typing import Any, cast

import pytest
import torch

import ticketkit
from tests.core import broken
from tests.core.networks import network, pictures
from ticketkit.measuring import evaluators_of, measures, of_training
from ticketkit.options import resolve

THREAT = ticketkit.ThreatModel("l2", eps=0.5, steps=3)
TASK = cast("ticketkit.Task", resolve("task", "digits"))
CONTEXT = ticketkit.EvaluationContext()


class Warns(ticketkit.Evaluator):
    """Warns twice of one thing, and of another."""

    name = "warns"

    def evaluate(self, model: Any, data: Any, context: Any) -> ticketkit.Figures:
        for text in ("too few", "too few", "a bell\a"):
            warnings.warn(text, stacklevel=1)
        return {"one": ticketkit.Estimate(1.0, 2)}


def test_figures_become_plain_data_and_warnings_become_notes() -> None:
    parts = {"accuracy": resolve("evaluator", "accuracy"), "warns": Warns()}
    found = list(measures(network(), pictures(30), cast("Any", parts), CONTEXT))
    (spec, figures, silence), (other, told, notes) = found
    assert (spec, list(figures), silence) == ("accuracy", ["top1", "per_class"], [])
    assert figures["top1"].keys() == {"value", "n", "low", "high", "unit", "better"}
    assert (other, told["one"]["value"], notes) == ("warns", 1, ["too few", "a bell\\x07"])


def test_evaluators_are_told_apart_by_their_options_and_each_is_asked_once() -> None:
    specs = ["adversarial:eps=8/255", "accuracy", "accuracy", "adversarial:steps=1+10+20"]
    found = list(evaluators_of(specs))
    assert found[1:] == ["accuracy"]
    assert found[0].startswith("adversarial:norm=linf,eps=0.03137254901960784,steps=1+10+20,")


def test_a_trained_classifier_is_measured_clean_and_on_some_pictures_under_attack() -> None:
    model, data = network(), pictures(530)
    found = {s: f for s, f, _ in measures(model, data, of_training(TASK, THREAT), CONTEXT)}
    clean, attack = found.values()
    assert list(clean) == ["top1", "per_class"]
    assert list(attack) == ["pgd3-l2-0.5", "clean"]
    right = int((model.eval()(data.images.float() / 255).argmax(1) == data.targets).sum())
    assert (clean["top1"]["value"], clean["top1"]["n"]) == (right / 530, 530)
    assert attack["clean"]["n"] == attack["pgd3-l2-0.5"]["n"] == 400


# Fault row 39
@pytest.mark.parametrize("nothing", [{"eps": 0.0}, {"steps": 0}])
def test_an_attack_of_no_strength_is_the_clean_accuracy_exactly(nothing: Any) -> None:
    parts = of_training(TASK, ticketkit.ThreatModel(**nothing))
    found = [figures for _, figures, _ in measures(network(), pictures(90), parts, CONTEXT)]
    assert list(found[1].values()) == [found[0]["top1"]] * 2


def test_a_task_s_own_metric_is_what_is_attacked() -> None:
    class PerClass(broken.Task):
        metric = "accuracy.per_class"

    found = list(measures(network(), pictures(60), of_training(PerClass(), THREAT), CONTEXT))
    assert found[0][1]["per_class"] == found[1][1]["clean"]
    assert found[1][0].endswith("metric=accuracy.per_class")


def test_a_segmentation_is_measured_by_its_own_metric() -> None:
    class Scenes(broken.Scenes):
        metric = "miou"

    data, model = Scenes().splits(None)["test"], torch.nn.Conv2d(1, 2, 1)
    clean, attack = measures(model, data, of_training(Scenes(), THREAT), CONTEXT)
    assert clean[:2] == ("miou", {"miou": attack[1]["clean"]})
    assert clean[1]["miou"]["low"] <= clean[1]["miou"]["value"]
