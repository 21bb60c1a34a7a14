"""Linear evaluation: a new head on features that a network's body extracts once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import TensorDataset

import ticketkit
from ticketkit.linear_probe import extract, probe
from ticketkit.logistic import fit_logistic
from ticketkit.testing import cases


def data(count: int = 40) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(count, 2, 6, 6, generator=generator)
    labels = torch.arange(count) % 4
    pictures[:, 0] *= labels[:, None, None] + 1  # brighter by their class
    return TensorDataset(pictures / 4, labels)


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_features_are_what_the_head_is_given(batch: int) -> None:
    model = cases.runnable().train()
    before = cases.snapshot(model)
    features, targets = extract(model, "linear", data(), batch=batch)
    assert cases.snapshot(model) == before
    pictures, labels = data()[:]
    model.eval()
    expected = model["norm"](model["conv"](pictures)).relu().mean((2, 3))
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(targets, labels)
    assert (features.dtype, features.shape) == (torch.float32, (40, 6))


def test_a_probed_head_is_scikit_learns_and_the_body_is_left_alone() -> None:
    model = cases.runnable().train()
    before = cases.snapshot(model)
    features, labels = extract(model, "linear", data())
    probe(model, "linear", data(), l2=1e-2)
    after = cases.snapshot(model)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"linear.weight", "linear.bias"}
    scaled = StandardScaler().fit_transform(features.double())
    theirs = LogisticRegression(C=1 / (1e-2 * 40), tol=1e-10, max_iter=20000).fit(scaled, labels)
    found = model.eval()(data()[:][0]).softmax(1)
    torch.testing.assert_close(
        found.double(), torch.from_numpy(theirs.predict_proba(scaled)), rtol=0, atol=1e-5
    )


def test_a_probe_learns_what_the_body_tells_apart() -> None:
    model = cases.runnable()
    ticketkit.recalibrate(model, data())
    before = ticketkit.evaluate(model, data(), ["accuracy"])["accuracy"]["top1"]
    probe(model, "linear", data())
    after = ticketkit.evaluate(model, data(), ["accuracy"])["accuracy"]["top1"]
    assert after.value > max(before.value, 0.9)


def test_networks_in_half_precision_are_probed_in_float64() -> None:
    model = cases.runnable().bfloat16()
    features, labels = extract(model, "linear", data())
    weight, _ = fit_logistic(features, labels, 4)
    probe(nn.DataParallel(model), "linear", data())
    assert torch.equal(model["linear"].get_parameter("weight"), weight.bfloat16())


class Twice(nn.Module):
    """Gives its head what it is told to, as often."""

    def __init__(self, *given: Any) -> None:
        super().__init__()
        self.fc, self.given = nn.Linear(2, 3), given

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for give in self.given:
            inputs = self.fc(give(inputs))
        return inputs.new_zeros(len(inputs), 3)


def nowhere(inputs: torch.Tensor) -> torch.Tensor:
    return inputs / 0


@pytest.mark.parametrize(
    ("model", "path", "kind", "told"),
    [
        (Twice(), "fcc", ticketkit.UsageError, "no module 'fcc'; did you mean 'fc'"),
        (Twice(), "", ticketkit.UsageError, "no module ''"),
        (Twice(), "fc", ticketkit.InputError, r"fc is not given features \(batch, F\) once"),
        (Twice(lambda x: x, lambda x: x[:, :2]), "fc", ticketkit.InputError, "once a batch"),
        (Twice(lambda x: x[:, None]), "fc", ticketkit.InputError, r"features \(batch, F\)"),
        (Twice(nowhere), "fc", ticketkit.EvaluationError, "sample 0: .* is NaN or infinite"),
        (nn.Sequential(nn.Identity()), "0", ticketkit.UsageError, "0 is no linear layer with a"),
        (nn.Sequential(nn.Linear(2, 3, bias=False)), "0", ticketkit.UsageError, "with a bias"),
        (nn.Sequential(nn.Linear(2, 2)), "0", ticketkit.EvaluationError, "label 2 is out of range"),
    ],
)
def test_what_cannot_be_probed_is_told_and_leaves_the_network(
    model: nn.Module, path: str, kind: type[Exception], told: str
) -> None:
    before = cases.snapshot(model)
    with pytest.raises(kind, match=told):
        probe(model, path, [(torch.ones(3, 2), torch.arange(3))])
    assert cases.snapshot(model) == before
    assert not any(module._forward_pre_hooks for module in model.modules())
