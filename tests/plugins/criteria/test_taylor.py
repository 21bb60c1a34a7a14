"""Criterion `taylor`."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import ticketkit
from ticketkit.testing import CriterionLaws, cases
from ticketkit_plugins.criteria.taylor import Taylor


class TestTaylor(CriterionLaws):
    part = Taylor()


def network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4),
    )  # fmt: skip


def drawn(model: nn.Module, **options: Any) -> ticketkit.Ticket:
    chosen = {"scheme": "unstructured", "sparsity": 0.5, "batches": cases.batches(), **options}
    return ticketkit.draw(model, criterion="taylor", **chosen)


def naive(model: nn.Module, batches: Any, loss: Any = cross_entropy) -> dict[str, torch.Tensor]:
    """The definition, by backward, on a copy."""
    model = copy.deepcopy(model).eval()
    sums = {name: torch.zeros(p.shape, dtype=p.dtype) for name, p in model.named_parameters()}
    for inputs, targets in batches:
        model.zero_grad()
        loss(model(inputs), targets).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            sums[name] += (parameter.detach() * parameter.grad).abs() / len(batches)
    return sums


def test_it_is_a_loop_with_backward() -> None:
    model = network().eval()
    found = Taylor().collect(model, cases.batches(), cross_entropy)
    expected = naive(model, cases.batches())
    assert set(found) == set(expected)
    for name, statistic in found.items():
        torch.testing.assert_close(statistic, expected[name])


def test_it_is_the_closed_form_of_a_linear_network_with_squared_loss() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=False, dtype=torch.float64)
    batches = [(torch.randn(5, 3).double(), torch.randn(5, 2).double()) for _ in range(3)]
    found = Taylor().collect(model, batches, mse_loss)["weight"]
    weight = model.weight.detach()
    # The mean over the ten squares (w x - y)^2 has the gradient 2 (w x - y) x / 10.
    gradients = [2 * (x @ weight.T - y).T @ x / 10 for x, y in batches]
    expected = [(weight * gradient).abs() for gradient in gradients]
    torch.testing.assert_close(found, torch.stack(expected).mean(0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("scheme", ["unstructured", "channel", "nm:n=4,m=9"])
def test_a_draw_ranks_by_it(scheme: str) -> None:
    model = network()
    model[0] = nn.Conv2d(2, 4, 3)
    options: Any = {"sparsity": None if scheme.startswith("nm") else 0.5, "scheme": scheme}
    mask = drawn(model, **options).mask
    scores = {name: naive(model, cases.batches())[name] for name in mask}

    class Given(ticketkit.Criterion):
        """The scores of the loop."""

        name = "given"
        elementwise = False

        def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
            return scores[context.name].reshape(weight.shape)

    assert mask == ticketkit.draw(model, criterion=Given(), **options).mask


def test_the_network_is_left_alone() -> None:
    model = network().train()
    model[5].requires_grad_(requires_grad=False)
    model[1].eval()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    gradients = [parameter.grad for parameter in model.parameters()]
    before = cases.snapshot(model)
    ticket = drawn(model)
    assert cases.snapshot(model) == before
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert drawn(model) == ticket


def test_frozen_parameters_count_as_others_do() -> None:
    model = network()
    expected = drawn(model).mask
    assert drawn(model.requires_grad_(requires_grad=False)).mask == expected
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_layer_that_the_network_does_not_use_scores_zero() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(72, 4), nn.Linear(3, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.used(inputs.flatten(1))
            return found

    torch.manual_seed(0)
    mask = drawn(Idle()).mask
    assert mask["idle.weight"].sum() == 1  # its best


def test_transposed_and_tied_weights_find_their_own_statistic() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 4, 3)
            self.down = nn.Conv2d(4, 2, 3)
            self.same = nn.Conv2d(4, 2, 3)
            self.same.weight = self.down.weight

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.down(self.up(inputs)) + self.same(self.up(inputs))
            return found

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.square().mean()

    torch.manual_seed(0)
    model = Tied()
    mask = drawn(model, loss=loss).mask
    found = naive(model, cases.batches(), loss)
    flat = torch.cat([found[name].reshape(-1) for name in mask])
    keep = torch.cat([mask[name].reshape(-1) for name in mask])
    assert list(mask) == ["down.weight", "up.weight"]
    assert flat[keep].min() >= flat[~keep].max()


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrapped_networks_are_seen_through(wrap: Any) -> None:
    assert drawn(wrap(network())).mask == drawn(network()).mask


def test_it_works_without_gradients_and_in_half_precision() -> None:
    expected = drawn(network()).mask
    with torch.no_grad():
        assert drawn(network()).mask == expected
    model, half = network().bfloat16(), [(x.bfloat16(), y) for x, y in cases.batches()]
    assert drawn(model, batches=half).mask.kept == expected.kept


def test_loaders_serve_and_the_same_seed_shuffles_them_the_same() -> None:
    pictures = torch.randn(40, 2, 6, 6)
    data = torch.utils.data.TensorDataset(pictures, torch.randint(4, (40,)))
    loader: Any = torch.utils.data.DataLoader(data, 8, shuffle=True)
    assert drawn(network(), batches=loader) == drawn(network(), batches=loader)


def test_a_gradient_that_is_not_finite_names_its_batch() -> None:
    told = r"batch \d: the gradient of .* is NaN or infinite"
    with pytest.raises(ticketkit.InputError, match=told):
        drawn(network(), loss=lambda outputs, targets: (outputs.sum() * 0).sqrt())


def test_inputs_that_the_network_does_not_take_name_their_batch() -> None:
    batches = [*cases.batches(), (torch.ones(5, 3, 6, 6), torch.ones(5).long())]
    with pytest.raises(ticketkit.UsageError, match="batch 3: the network does not take its inputs"):
        drawn(network(), batches=batches)


def test_weights_that_cannot_be_ranked_are_told_before_any_data_is_read() -> None:
    with pytest.raises(ticketkit.WeightsError, match="load weights first"):
        drawn(network().to("meta"))
