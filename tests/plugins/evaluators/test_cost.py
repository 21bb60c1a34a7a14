"""Evaluator `cost`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ticketkit
from tests.samples import FORMS, save, save_shards, state
from ticketkit.estimates import EvaluationContext
from ticketkit.testing import EvaluatorLaws, cases
from ticketkit_plugins.evaluators.cost import Cost

STEADY = ["nonzeros", "parameters", "sparsity", "macs", "effective_macs"]


class TestCost(EvaluatorLaws):
    part = Cost(runs=6)
    varies = ("latency", "latency_iqr")

    def test_outputs_that_are_not_finite_are_an_evaluation_error(self) -> None:
        """What the network answers costs the same."""

    def test_labels_that_are_no_class_are_an_evaluation_error(self) -> None:
        """It looks at no label."""

    def test_outputs_of_too_few_dimensions_are_refused(self) -> None:
        """What the network answers costs the same."""


def measured(model: nn.Module, data: Any, **options: Any) -> Any:
    (found,) = ticketkit.evaluate(model, data, [Cost(**{"runs": 6, **options})]).values()
    return found


def pictures(count: int = 3) -> TensorDataset:
    return TensorDataset(torch.zeros(count, 3, 8, 8, dtype=torch.uint8), torch.zeros(count).long())


def network() -> Any:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    with torch.no_grad():
        model[0].weight[1:] = 0
    return model


def test_it_tells_weights_work_and_time() -> None:
    found = measured(network(), pictures())
    values = {name: found[name].value for name in STEADY}
    assert values == {
        "nonzeros": 27 + 4 + 288 + 2,
        "parameters": 108 + 4 + 288 + 2,
        "sparsity": 81 / (108 + 288),
        "macs": 36 * 108 + 288,
        "effective_macs": 36 * 27 + 288,
    }
    assert list(found) == [*STEADY, "latency", "latency_iqr"]
    assert {found[name].n for name in STEADY} == {1}
    latency = found["latency"]
    assert (latency.n, latency.unit) == (6, "ms")
    assert 0 < latency.low <= latency.value <= latency.high
    assert found["latency_iqr"].value <= latency.high - latency.low
    worse = {name for name, each in found.items() if each.better == "higher"}
    assert worse == {"sparsity"}


def test_all_but_the_time_is_of_one_picture_whatever_the_data_and_the_batch() -> None:
    one = measured(network(), pictures(1))
    for data in (pictures(9), DataLoader(pictures(9), 4), [(torch.rand(2, 3, 8, 8), 0)]):
        many = measured(network(), data, batch=5)
        assert [many[name] for name in STEADY] == [one[name] for name in STEADY]


def test_a_pass_that_is_timed_has_the_batch_that_was_asked_for() -> None:
    sizes = []
    model = network()
    model.register_forward_hook(lambda module, inputs, outputs: sizes.append(len(outputs)))
    measured(model, pictures(), batch=5, runs=7)
    assert sizes == [1] + [5] * 10


@pytest.mark.parametrize("form", [*FORMS, "shards"])
def test_the_file_counts_with_all_its_parts(form: str, tmp_path: Path) -> None:
    file = save_shards(state(), tmp_path) if form == "shards" else save(state(), tmp_path, form)
    weights = file.glob("*.safetensors") if form == "shards" else [file]
    found = Cost(runs=6).evaluate(network(), pictures(), EvaluationContext(file=file))
    assert found["bytes"].value == sum(path.stat().st_size for path in weights)
    assert found["bytes"].unit == "bytes"


def test_the_network_is_left_as_it_was_and_its_answers_are_not_looked_at() -> None:
    model = network()
    with torch.no_grad():
        model[3].bias[0] = torch.nan
    before = cases.snapshot(model.train())
    assert measured(model, pictures())["macs"].value == 36 * 108 + 288
    after = cases.snapshot(model)
    assert str(after) == str(before)


def test_without_data_there_is_no_shape_to_measure() -> None:
    with pytest.raises(ticketkit.EvaluationError, match="there is no data"):
        measured(network(), pictures(0))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch": 0}, "cost: batch is a whole number from 1 to 10000, found 0"),
        ({"runs": 5}, "cost: runs is a whole number from 6 to 10000, found 5"),
    ],
)
def test_options_without_a_meaning_are_refused(options: dict[str, int], told: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=told):
        Cost(**options)


def test_it_is_found_by_its_name() -> None:
    assert ticketkit.resolve("evaluator", "cost:batch=8,runs=100") == Cost(batch=8, runs=100)
