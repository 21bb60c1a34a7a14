"""What a criterion finds in data: errors that tell whose they are, and nothing left changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ticketkit
from tests.core import broken
from tests.samples import save, state
from ticketkit.testing import cases


def drawn(model: Any = None, **options: Any) -> ticketkit.Ticket:
    chosen = {"criterion": "taylor", "scheme": "unstructured", "sparsity": 0.5, **options}
    return ticketkit.draw(cases.runnable() if model is None else model, **chosen)


def reader() -> Iterator[Any]:
    yield cases.batches()[0]
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("batches", "kind", "told"),
    [
        (None, ticketkit.UsageError, "needs batches=, an iterable of"),
        ([], ticketkit.UsageError, "batches is empty: at least one pair"),
        (iter(()), ticketkit.UsageError, "batches is empty"),
        (3, ticketkit.UsageError, "batches is an iterable of .* found int"),
        (torch.ones(3, 2), ticketkit.UsageError, "batches is an iterable of .* found Tensor"),
        ([torch.ones(3)], ticketkit.UsageError, "batch 1: expected a pair .* found a Tensor"),
        ([cases.batches()[0], (1, 2, 3)], ticketkit.UsageError, "batch 2: .* found a tuple of 3"),
        (reader(), ticketkit.InputError, "batches failed: OSError: the disk is gone"),
    ],
)
def test_batches_that_are_none_are_told(batches: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        drawn(batches=batches)


@pytest.mark.parametrize(
    ("loss", "kind", "told"),
    [
        (lambda o, t: o, ticketkit.UsageError, r"batch 1: the loss is no real scalar: .*\[5, 4\]"),
        (lambda o, t: 3.0, ticketkit.UsageError, "is no real scalar: found a float"),
        (lambda o, t: torch.ones(()), ticketkit.UsageError, "does not depend on the network"),
        (lambda o, t: o.sum() / 0, ticketkit.InputError, r"batch 1: the loss is -?inf"),
        (lambda o, t: o.sum() * float("nan"), ticketkit.InputError, "batch 1: the loss is nan"),
        (lambda o, t: 1 / 0, ticketkit.UsageError, "batch 1: the loss failed: ZeroDivisionError"),
    ],
)
def test_a_loss_that_is_none_is_told(loss: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        drawn(batches=cases.batches(), loss=loss)


@pytest.mark.parametrize("given", [{"batches": cases.batches()}, {"loss": nn.MSELoss()}])
def test_data_is_refused_where_nothing_looks_at_it(given: Any) -> None:
    with pytest.raises(ticketkit.UsageError, match="criterion magnitude looks at no data"):
        drawn(criterion="magnitude", **given)


def test_a_checkpoint_is_no_network(tmp_path: Path) -> None:
    checkpoint = ticketkit.open_checkpoint(save(state(), tmp_path, "zip"))
    with pytest.raises(ticketkit.UsageError, match="taylor needs a network and batches"):
        drawn(checkpoint, batches=cases.batches())


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (broken.CollectsNothing(), "collect returned nothing for conv.weight, linear.weight"),
        (broken.CollectsNumbers(), r"collect for conv.weight returned shape \(\)"),
        (broken.CollectsNan(), "collect for conv.weight returned NaN or infinite"),
        (broken.Trains(), "collect changed the network's weights or statistics"),
    ],
)
def test_a_criterion_that_collects_amiss_is_named(part: Any, told: str) -> None:
    with pytest.raises(ticketkit.PluginError, match=f"part 'absolute' not registered.*{told}"):
        drawn(criterion=part, batches=cases.batches())


class Odd(broken.Gradient):
    """Does what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def collect(self, model: nn.Module, batches: Any, loss: Any) -> Any:
        return self.answer(model, super().collect(model, batches, loss))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda model, found: list(found), "collect returned list"),
        (lambda model, found: dict.fromkeys(found, 3), "returned int"),
        (lambda model, found: {n: g > 0 for n, g in found.items()}, r"returned torch\.bool"),
        (lambda model, found: 1 / 0, "ZeroDivisionError"),
        (lambda model, found: model.train()(cases.batches()[0][0]), "changed|collect returned"),
    ],
)
def test_what_a_strangers_collect_returns_is_checked(answer: Any, told: str) -> None:
    model = cases.runnable().train()
    with pytest.raises(ticketkit.PluginError, match=told):
        drawn(model, criterion=Odd(answer), batches=cases.batches())
    assert model.training


def test_whatever_collect_leaves_behind_is_cleared_away() -> None:
    model = cases.runnable().train()
    model["conv"].requires_grad_(requires_grad=False)
    kept = torch.ones_like(model["linear"].get_parameter("weight"))
    model["linear"].get_parameter("weight").grad = kept
    before = cases.snapshot(model)

    def leave(model: nn.Module, found: Any) -> Any:
        model.train()
        torch.rand(3)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        model["norm"].requires_grad_(requires_grad=False)  # type: ignore[index]
        return found

    drawn(model, criterion=Odd(leave), batches=cases.batches())
    assert cases.snapshot(model) == before
    assert model["linear"].get_parameter("weight").grad is kept


def test_a_criterion_that_collects_gets_whole_layers_and_its_statistic() -> None:
    seen = {}

    class Watching(broken.Gradient):
        """Says that it is elementwise, which it cannot be."""

        elementwise = True

        def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
            assert context.statistic is not None
            seen[context.name] = (tuple(weight.shape), tuple(context.statistic.shape))
            return super().score(weight, context)

    drawn(criterion=Watching(), batches=cases.batches())
    assert seen == {"conv.weight": ((6, 2, 3, 3),) * 2, "linear.weight": ((4, 6),) * 2}


def test_it_is_collected_once_however_many_rounds_there_are() -> None:
    calls = []

    def count(model: nn.Module, found: Any) -> Any:
        calls.append(model)
        return found

    class Rounds(ticketkit.Strategy):
        """Three of them."""

        name = "rounds"

        def rounds(self, job: ticketkit.Job) -> Iterator[ticketkit.Round]:
            for share in (0.25, 0.5, 1):
                yield ticketkit.Round(job.select(share * job.sparsity))

    drawn(criterion=Odd(count), batches=cases.batches(), strategy=Rounds())
    assert len(calls) == 1
