"""What a trained network is measured by."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

import ticketkit
from tests.core import broken
from tests.core.networks import network, pictures
from ticketkit.measuring import ATTACKED, attacked, measured
from ticketkit.options import resolve
from ticketkit.seeds import order
from ticketkit.statistics import wilson

THREAT = ticketkit.ThreatModel("l2", eps=0.5, steps=3)
TASK = cast("ticketkit.Task", resolve("task", "digits"))


@pytest.mark.parametrize("count", [30, ATTACKED, ATTACKED + 130])
def test_the_first_pictures_are_attacked_and_all_are_measured_clean(count: int) -> None:
    model, data = network(), pictures(count)
    found = measured(model, data, TASK, THREAT, 0)
    clean, robust = found["accuracy"], found["adversarial_accuracy"]
    assert clean["n"] == count
    assert robust["n"] == min(count, ATTACKED)
    model.eval()
    right = int((model(data.images.float() / 255).argmax(1) == data.targets).sum())
    assert clean["value"] == right / count
    assert (clean["low"], clean["high"]) == wilson(right, count)
    assert robust["attack"] == THREAT.spec()


# Fault row 39
def test_an_attack_of_no_strength_is_the_clean_accuracy_exactly() -> None:
    model, data = network(), pictures(100)
    for threat in (ticketkit.ThreatModel(eps=0), ticketkit.ThreatModel(steps=0)):
        found = measured(model, data, TASK, threat, 0)
        assert found["adversarial_accuracy"]["value"] == found["accuracy"]["value"]


def test_every_network_is_attacked_on_the_same_pictures_from_the_same_starts() -> None:
    data = pictures(40)
    still = ticketkit.ThreatModel("linf", eps=0.1, steps=1, step=0.0)
    one, other = (list(attacked(network(seed), data, still, 5)) for seed in (0, 1))
    assert torch.equal(one[0][0], other[0][0])
    assert not torch.equal(one[0][0], data.images.float() / 255)
    third = list(attacked(network(), data, still, 6))
    assert not torch.equal(one[0][0], third[0][0])


def test_of_a_classifier_both_accuracies_are_told_the_task_s_own_first() -> None:
    class PerClass(broken.Task):
        metric = "per-class-accuracy"

    model, data = network(), pictures(60)
    both = ["accuracy", "per-class-accuracy"]
    found = measured(model, data, TASK, THREAT, 0)
    assert list(found) == [*both, "adversarial_accuracy"]
    other = measured(model, data, PerClass(), THREAT, 0)
    assert list(other) == [*reversed(both), "adversarial_per-class-accuracy"]
    assert [found[name] for name in both] == [other[name] for name in both]


def test_pictures_that_differ_in_size_are_attacked_as_those_of_one_size() -> None:
    """A segmenter of single pixels: its pictures may be cut in any way."""

    class Scenes(broken.Scenes):
        metric = "miou"

    class Cut(torch.utils.data.Dataset[Any]):
        def __init__(self, data: ticketkit.Pictures) -> None:
            self.data = data

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, index: int) -> Any:
            image, target = self.data[index]
            rows = 2 + index % 3
            return image[:, :rows], target[:rows]

    still = ticketkit.ThreatModel("linf", eps=0.1, steps=2, start="zero")
    cut, model = Cut(Scenes().splits(None)["test"]), torch.nn.Conv2d(1, 2, 1)
    found = [inputs for batch, _ in attacked(model, cut, still, 0) for inputs in batch]
    assert len({inputs.shape for inputs in found}) == 3
    for inputs, index in zip(found, order(0, 0, len(cut)).tolist(), strict=True):
        alone = next(attacked(model, torch.utils.data.Subset(cut, [index]), still, 0))[0][0]
        assert torch.equal(inputs, alone)
    assert measured(model, cut, Scenes(), THREAT, 0)["adversarial_miou"]["n"] == len(cut)


def test_a_segmentation_is_measured_by_its_own_metric() -> None:
    class Scenes(broken.Scenes):
        metric = "miou"

    task = Scenes()
    data = task.splits(None)["test"]
    model = torch.nn.Conv2d(1, 2, 1)
    found = measured(model, data, task, THREAT, 0)
    assert set(found) == {"miou", "adversarial_miou"}
    assert found["miou"]["low"] is None
