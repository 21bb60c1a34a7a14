"""What the commands that train have in common."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch

from tests.plugins.tasks.real_files import folder, photos
from ticketkit import Task, UsageError, resolve
from ticketkit.datasets import data_of
from ticketkit.experiments import Experiment, of_the_data, ready
from ticketkit.networks import network_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(("width", "last"), [(16, True), (64, True), (2, False), (5, False)])
def test_channels_come_last_where_torch_can_train_them_so(width: int, last: bool) -> None:
    model = ready(network_of(f"resnet10:width={width},stem=small", 3, channels=1), CPU)
    weight = model.get_parameter("layer2.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last) == last
    assert weight.is_contiguous() != last


def test_an_attack_keeps_the_usual_options_that_it_does_not_name() -> None:
    usual = Experiment("digits").threat()
    assert (usual.norm, usual.eps, usual.steps) == ("l2", 0.25, 10)
    stronger = Experiment("digits", attack="eps=0.5").threat()
    assert (stronger.norm, stronger.eps, stronger.steps) == ("l2", 0.5, 10)
    paper = Experiment("digits", fit="paper:epochs=1", attack="steps=20").threat()
    assert (paper.norm, paper.eps, paper.steps) == ("linf", 8 / 255, 20)


def test_a_recipe_tells_other_files(tmp_path: Path) -> None:
    folder(tmp_path)
    task = cast("Task", resolve("task", "folder:path=mine"))
    before = of_the_data(data_of(task, tmp_path))
    assert before == of_the_data(data_of(task, tmp_path))
    photos(tmp_path / "mine" / "train" / "dog", ["b.JPEG"], seed=50)
    after = of_the_data(data_of(task, tmp_path))
    assert after["test"] == before["test"]
    assert after["train"]["count"] == before["train"]["count"]
    assert after["train"]["sha256"] != before["train"]["sha256"]


def test_a_download_of_nothing_is_refused_before_the_work_begins() -> None:
    Experiment("cifar10", download=True).check()
    with pytest.raises(UsageError, match="task 'digits' downloads nothing"):
        Experiment("digits", download=True).check()
