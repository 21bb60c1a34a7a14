"""BatchNorm's running statistics under other data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import Dataset, TensorDataset

import ticketkit
from ticketkit.batchnorm import frozen_statistics
from ticketkit.seeds import order
from ticketkit.testing import cases


def network(momentum: float | None = 0.1) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU(),
        nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5),
    )  # fmt: skip
    for _ in range(3):  # statistics of something else
        model(torch.randn(8, 2, 6, 6))
    return model


def data(count: int = 50, seed: int = 1) -> Any:
    pictures = torch.rand(count, 2, 6, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(pictures, torch.zeros(count))


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def same(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(b, statistics(right)[n]) for n, b in statistics(left).items())


def test_one_batch_of_all_pictures_gives_torchs_own_statistics() -> None:
    model, twin = network(), network().train()
    for module in twin:
        if hasattr(module, "momentum"):
            module.reset_running_stats()
            module.momentum = None
    twin(data()[:][0][order(0, 0, 50)])
    ticketkit.recalibrate(model, data())
    assert same(model, twin)


def test_several_batches_give_what_torchs_update_bn_does() -> None:
    model, twin = network(), network()
    parts = [data(47)[index][0] for index in order(0, 0, 47)]
    batches = [torch.stack(parts[at : at + 12]) for at in (0, 12, 24)]
    batches.append(torch.stack(parts[36:]))  # near-equal: 12, 12, 12 and 11
    update_bn(batches, twin)
    ticketkit.recalibrate(model, data(47), batch=12)
    assert same(model, twin)


def test_it_is_the_closed_form_of_a_linear_layer() -> None:
    linear = nn.Linear(3, 2, dtype=torch.float64)
    norm = nn.BatchNorm1d(2, dtype=torch.float64)
    inputs = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ticketkit.recalibrate(nn.Sequential(linear, norm), TensorDataset(inputs, torch.zeros(40)))
    weight, covariance = linear.weight.detach(), inputs.T.cov()
    mean = weight @ inputs.mean(0) + linear.bias.detach()
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-12, atol=1e-14)
    variance = (weight @ covariance @ weight.T).diagonal()
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-12, atol=1e-14)


@settings(deadline=None, max_examples=10)
@given(st.integers(2, 40), st.integers(2, 20), st.booleans(), st.integers(0, 9))
def test_all_else_is_left_alone_and_the_same_data_give_the_same_bits(
    count: int, batch: int, training: bool, seed: int
) -> None:
    model = network().train(training)
    model[1].train(not training)
    before, moments = cases.snapshot(model), statistics(model)
    ticketkit.recalibrate(model, data(count, seed), batch=batch)
    first = statistics(model)
    ticketkit.recalibrate(model, data(count, seed), batch=batch)
    assert all(torch.equal(first[name], found) for name, found in statistics(model).items())
    assert model[1].num_batches_tracked == max(1, min(-(-count // batch), count // 2))
    for name, buffer in model.named_buffers():
        buffer.copy_(moments[name])
    assert cases.snapshot(model) == before
    assert [m.momentum for m in model if hasattr(m, "momentum")] == [0.1] * 3


def test_dropout_stays_off_and_labels_are_not_looked_at() -> None:
    model, twin = network(), network()
    model.insert(0, nn.Dropout(0.9))
    ticketkit.recalibrate(model.train(), [(data()[:][0][order(0, 0, 50)], None)])
    ticketkit.recalibrate(twin, data())
    pairs = zip(model.buffers(), twin.buffers(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_norm_that_tracks_nothing_or_is_not_run_is_left_alone() -> None:
    model = network()
    model.add_module("quiet", nn.BatchNorm1d(5, track_running_stats=False))
    idle = model[0].idle = nn.BatchNorm2d(3)
    for buffer in idle.buffers():
        buffer.fill_(7)
    ticketkit.recalibrate(model, data())
    assert all((buffer == 7).all() for buffer in idle.buffers())
    assert model.quiet.running_mean is None
    assert model[1].num_batches_tracked == 1


def test_a_network_without_batchnorm_is_not_run() -> None:
    ticketkit.recalibrate(nn.Linear(3, 2), iter(()))


def single() -> Any:
    return [data(3)[:], data(1)[:]]


class Odd(Dataset[Any]):
    """Pictures of which no two have one shape."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return torch.ones(2, 6, 6 + index), 0


def nan() -> Any:
    return TensorDataset(torch.full((4, 2, 6, 6), torch.nan), torch.zeros(4))


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        (data(1), {}, "two or more pictures in a batch: sample 0 is alone in its own$"),
        (single(), {}, "two or more pictures in a batch: sample 3 is alone in its own$"),
        (Odd(), {}, "sample 0 is alone in its own, as others differ in shape: give a schedule"),
        (data(9), {"batch": 1}, "two or more pictures in a batch, found batch=1"),
        (nan(), {}, "the statistics of 1, 4, 7 are NaN or infinite on this data"),
        (
            [data(3)[:], (torch.ones(3, 1, 6, 6), None)],
            {},
            "samples 3 to 5: the network failed",
        ),
        ([], {}, "there is no data"),
    ],
)
def test_what_fails_is_told_and_leaves_the_statistics(given: Any, options: Any, told: str) -> None:
    model = network(momentum=None).train()
    before = cases.snapshot(model)
    with pytest.raises((ticketkit.InputError, ticketkit.UsageError), match=told):
        ticketkit.recalibrate(model, given, **options)
    assert cases.snapshot(model) == before
    assert model[1].momentum is None


def test_pictures_in_bytes_and_wrapped_networks_serve() -> None:
    pictures = (data()[:][0] * 255).byte()
    model, twin = network(), network()
    ticketkit.recalibrate(nn.DataParallel(model), TensorDataset(pictures, torch.zeros(50)))
    ticketkit.recalibrate(twin, TensorDataset(pictures / 255, torch.zeros(50)))
    assert same(model, twin)


def test_frozen_statistics_stay_while_the_rest_trains() -> None:
    model = network().train()
    model[4].eval()
    modes = [module.training for module in model.modules()]
    before = statistics(model)
    with frozen_statistics(model):
        assert [n for n, m in model.named_modules() if not m.training] == ["1", "4", "7"]
        model(data()[:][0]).sum().backward()
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], found) for name, found in statistics(model).items())
    assert model[1].weight.grad is not None
    with pytest.raises(ZeroDivisionError), frozen_statistics(model):
        _ = 1 / 0
    assert [module.training for module in model.modules()] == modes


def test_data_that_is_sorted_gives_the_statistics_of_data_that_is_not() -> None:
    # Within a batch of one class nothing varies; between classes everything does.
    classes = torch.arange(8).repeat_interleave(50)
    pictures = classes[:, None, None, None].float().expand(400, 2, 3, 3).contiguous()
    norm = nn.Sequential(nn.BatchNorm2d(2))
    ticketkit.recalibrate(norm, TensorDataset(pictures, classes), batch=50)
    expected = pictures.var((0, 2, 3))
    found = norm.get_buffer("0.running_var")
    assert torch.allclose(found, expected, rtol=0.1)
