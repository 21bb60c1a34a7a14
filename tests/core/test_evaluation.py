"""What a network is worth on data: one forward pass, shared by every evaluator."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ticketkit
from ticketkit.evaluation import figure_of
from ticketkit.progress import listening
from ticketkit.testing import cases
from ticketkit_plugins.evaluators.accuracy import Accuracy

LAW = settings(deadline=None, max_examples=30)


def pictures(count: int = 33, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 2, 6, 6), generator=generator).byte()
    return images, torch.randint(4, (count,), generator=generator)


def evaluate(model: nn.Module, data: Any, *evaluators: Any, batch: int = 256) -> Any:
    return ticketkit.evaluate(model, data, evaluators or ["accuracy"], batch=batch)


class Counting(ticketkit.Evaluator):
    """Does in `update` and `compute` what it was told to, and counts the samples."""

    name = "counting"

    def __init__(self, update: Any = None, compute: Any = None) -> None:
        self.update, self.compute = update, compute

    def start(self) -> Any:
        return _Counter(self.update, self.compute)


class _Counter:
    def __init__(self, update: Any, compute: Any) -> None:
        self._update, self._compute, self.n = update, compute, 0

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        self.n += len(outputs)
        if self._update:
            self._update(outputs, targets)

    def compute(self) -> Any:
        return self._compute() if self._compute else count(self.n)


def count(n: int) -> ticketkit.Figures:
    return {"count": ticketkit.Estimate(float(n), n)}


def test_accuracy_is_the_share_of_pictures_that_a_loop_gets_right() -> None:
    model = cases.runnable()
    images, labels = pictures()
    right = 0
    for image, label in zip(images, labels, strict=True):
        right += int(model.eval()(image[None].float() / 255).argmax() == label)
    found = evaluate(model.train(), TensorDataset(images, labels), batch=8)["accuracy"]["top1"]
    assert (found.value, found.n) == (right / 33, 33)
    assert (found.low, found.high) == ticketkit.wilson(right, 33)


@LAW
@given(st.integers(1, 40), st.integers(1, 50), st.booleans(), st.integers(0, 9))
def test_neither_batches_nor_order_change_an_accuracy_nor_it_the_network(
    count: int, batch: int, training: bool, seed: int
) -> None:
    model = cases.runnable().train(training)
    model["norm"].train(not training)
    images, labels = pictures(count, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    before = cases.snapshot(model)
    found = evaluate(model, TensorDataset(images, labels))
    assert evaluate(model, TensorDataset(images[order], labels[order]), batch=batch) == found
    parts = [slice(at, at + batch) for at in range(0, count, batch)]
    assert evaluate(model, ((images[part], labels[part]) for part in parts)) == found
    assert cases.snapshot(model) == before


def test_evaluators_share_one_pass_and_are_found_by_their_specs() -> None:
    passes = []
    model = cases.runnable()
    model.register_forward_hook(lambda *_: passes.append(1))
    found = evaluate(model, TensorDataset(*pictures()), "accuracy", Counting(), batch=8)
    assert list(found) == ["accuracy", f"{__name__}:Counting"]
    assert found["accuracy"]["top1"].n == found[f"{__name__}:Counting"]["count"].n == 33
    assert len(passes) == 5
    same = evaluate(model, TensorDataset(*pictures()), Accuracy(), "accuracy")
    assert list(same) == ["accuracy"]


def test_a_segmentation_is_measured_over_all_its_pictures() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(2, 3, 1)
    images = torch.rand(5, 2, 4, 4)
    labels = model(images).argmax(1)
    assert (
        evaluate(model, TensorDataset(images, labels), "miou", batch=2)["miou"]["miou"].value == 1
    )


def test_loaders_serve_and_draw_nothing_from_torchs_generator() -> None:
    loader: Any = DataLoader(TensorDataset(*pictures()), 8, shuffle=True)
    model = cases.runnable()
    before = torch.random.get_rng_state()
    assert evaluate(model, loader) == evaluate(model, TensorDataset(*pictures()))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrapped_networks_serve(wrap: Any) -> None:
    data = TensorDataset(*pictures())
    assert evaluate(wrap(cases.runnable()), data) == evaluate(cases.runnable(), data)


def test_networks_in_half_precision_serve() -> None:
    model = cases.runnable().bfloat16()
    found = evaluate(model, TensorDataset(*pictures()))["accuracy"]["top1"]
    images, labels = pictures()
    outputs = model.eval()((images.float() / 255).bfloat16())
    assert found.value == (outputs.argmax(1) == labels).double().mean().item()


def test_an_output_that_is_not_finite_is_told_by_its_sample_whoever_measures() -> None:
    images, labels = pictures()
    whole = images.double()
    whole[20] = torch.nan
    with pytest.raises(ticketkit.EvaluationError, match="sample 20: the network's output is NaN"):
        evaluate(cases.runnable(), TensorDataset(whole, labels), Counting(), batch=8)


def test_a_label_that_is_no_class_is_told_and_the_network_left_alone() -> None:
    images, labels = pictures()
    labels[21] = 4
    model = cases.runnable().train()
    before = cases.snapshot(model)
    told = "sample 21: label 4 is out of range: the network has 4 classes"
    with pytest.raises(ticketkit.EvaluationError, match=told):
        evaluate(model, TensorDataset(images, labels), batch=8)
    assert cases.snapshot(model) == before


@pytest.mark.parametrize("data", [[], TensorDataset(*pictures(0))])
def test_no_data_is_an_error(data: Any) -> None:
    with pytest.raises(ticketkit.EvaluationError, match="there is no data") as caught:
        evaluate(cases.runnable(), data)
    assert caught.value.exit_status == 1


@pytest.mark.parametrize(
    ("evaluators", "told"),
    [
        ("accuracy", r"evaluators is a list of specs, such as \['accuracy'\]"),
        ([], "evaluators is empty"),
        (["acuracy"], "unknown evaluator 'acuracy'.*did you mean 'accuracy'"),
        ([Accuracy], "are its \\(\\) missing"),
    ],
)
def test_evaluators_that_are_none_are_told(evaluators: Any, told: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=told):
        ticketkit.evaluate(cases.runnable(), TensorDataset(*pictures()), evaluators)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Counting(update=lambda o, t: 1 / 0), "ZeroDivisionError"),
        (Counting(update=lambda o, t: o.zero_()), "update changed outputs or targets"),
        (Counting(update=lambda o, t: t.add_(1)), "update changed outputs or targets"),
        (Counting(compute=lambda: 1 / 0), "ZeroDivisionError"),
        (Counting(compute=lambda: 0.5), "compute returned float, where figures"),
        (Counting(compute=dict), "compute returned nothing, where figures"),
        (Counting(compute=lambda: {"it": 0.5}), "compute returned 'it': float, where a name and a"),
        (Counting(compute=lambda: {1: ticketkit.Estimate(1.0, 3)}), "compute returned 1: Estimate"),
        (
            Counting(compute=lambda: {"it": ticketkit.Estimate(torch.nan, 3)}),
            "compute returned the value nan of it",
        ),
    ],
)
def test_an_evaluator_that_fails_is_named_and_the_network_left_alone(part: Any, told: str) -> None:
    model = cases.runnable().train()
    before = cases.snapshot(model)
    data = TensorDataset(*pictures())
    with pytest.raises(ticketkit.PluginError, match=f"part 'counting' not registered.*{told}"):
        evaluate(model, data, part)
    assert cases.snapshot(model) == before


def test_the_callers_data_are_left_alone() -> None:
    images, labels = pictures()
    kept = copy.deepcopy((images, labels))
    evaluate(cases.runnable(), [(images, labels)])
    assert torch.equal(images, kept[0])
    assert torch.equal(labels, kept[1])


class Looking(ticketkit.Evaluator):
    """Does in `evaluate` what it was told to."""

    name = "looking"

    def __init__(self, evaluate: Any) -> None:
        self.told = evaluate

    def evaluate(self, model: nn.Module, data: Any, context: Any) -> Any:
        return self.told(model, data, context)


class Both(Counting, Looking):
    """Gathers in the shared pass, and looks at the network after it."""

    name = "both"

    def __init__(self, evaluate: Any) -> None:
        Counting.__init__(self, compute=lambda: 1 / 0)  # nobody calls it
        self.told = evaluate


def looked(what: Any, kind: Any = Looking, data: Any = None, **options: Any) -> ticketkit.Figures:
    """What an evaluator returns that needs the network."""
    data = TensorDataset(*pictures()) if data is None else data
    (found,) = ticketkit.evaluate(cases.runnable(), data, [kind(what)], **options).values()
    return found


def test_an_evaluator_may_ask_for_the_network_and_for_data_of_its_choice(tmp_path: Path) -> None:
    def count_right(model: nn.Module, data: Any, context: Any) -> ticketkit.Figures:
        assert not model.training
        assert not torch.is_grad_enabled()
        right = sum(
            int((outputs.argmax(1) == targets).sum())
            for outputs, targets in ticketkit.outputs_of(model, data, context.batch)
        )
        assert context == ticketkit.EvaluationContext(seed=3, batch=8, root=tmp_path)
        return {"share": ticketkit.Estimate(right / 33, 33), "right": ticketkit.Estimate(right, 33)}

    found = looked(count_right, batch=8, seed=3, root=tmp_path)
    top1 = evaluate(cases.runnable(), TensorDataset(*pictures()))["accuracy"]["top1"]
    assert list(found) == ["share", "right"]
    assert found["share"].value == top1.value


def test_an_evaluator_with_both_finds_what_it_gathered_in_the_shared_pass() -> None:
    passes: list[int] = []
    model = cases.runnable()
    model.register_forward_hook(lambda *_: passes.append(1))
    part = Both(lambda model, data, context: count(context.gathered.n))
    found = evaluate(model, TensorDataset(*pictures()), "accuracy", part, batch=8)
    assert found[f"{__name__}:Both"]["count"].value == 33
    assert len(passes) == 5
    assert looked(lambda m, d, context: count(1 + (context.gathered is None)))["count"].value == 2


def test_results_stand_in_the_order_that_was_asked_for() -> None:
    alone = Looking(lambda *_: count(1))
    data = TensorDataset(*pictures())
    found = evaluate(cases.runnable(), data, alone, "accuracy", Counting())
    assert list(found) == [f"{__name__}:Looking", "accuracy", f"{__name__}:Counting"]


@given(st.integers(0, 2**40), st.integers(0, 9))
def test_what_it_draws_depends_on_the_seed_and_on_where_it_is_used(seed: int, place: int) -> None:
    context = ticketkit.EvaluationContext(seed)

    def lots(*where: int | str, of: Any = context) -> list[int]:
        found: list[int] = torch.randint(2**60, (4,), generator=of.generator(*where)).tolist()
        return found

    assert lots("noise", place) == lots("noise", place)
    others = [lots("noise", place + 1), lots("other", place), lots("noise")]
    others.append(lots("noise", place, of=ticketkit.EvaluationContext(seed + 1)))
    assert lots("noise", place) not in others


def test_its_progress_is_heard() -> None:
    heard = []

    @contextlib.contextmanager
    def listener(what: str, total: int, unit: str) -> Iterator[Any]:
        heard.append((what, total, unit))
        yield lambda done: heard.append(done)

    def slow(model: nn.Module, data: Any, context: Any) -> ticketkit.Figures:
        with context.progress("looking", 2) as advance:
            advance(2)
        return count(2)

    with listening(listener):
        evaluate(cases.runnable(), TensorDataset(*pictures()), "accuracy", Looking(slow), batch=20)
    assert heard == [("evaluating", 33, "pictures"), 17, 16, ("looking", 2, "pictures"), 2]


def test_an_iterator_serves_one_pass_and_no_more() -> None:
    images, labels = pictures()

    def once(model: nn.Module, data: Any, context: Any) -> ticketkit.Figures:
        return count(sum(len(o) for o, _ in ticketkit.outputs_of(model, data, context.batch)))

    assert looked(once, data=iter([(images, labels)]))["count"].value == 33
    assert evaluate(cases.runnable(), iter([(images, labels)]), "accuracy", Counting())
    several: Any = (["accuracy", Looking(once)], [Looking(once), Counting()], [Both(once)])
    for parts in several:
        with pytest.raises(ticketkit.UsageError, match="2 passes over the data are needed, and an"):
            ticketkit.evaluate(cases.runnable(), iter([(images, labels)]), parts)
    found = ticketkit.evaluate(cases.runnable(), [(images, labels)], ["accuracy", Looking(once)])
    assert found[f"{__name__}:Looking"]["count"].value == 33


def _train(model: nn.Module, *_: Any) -> ticketkit.Figures:
    model.train()
    return count(1)


def _step(model: Any, *_: Any) -> ticketkit.Figures:
    model["linear"].weight.mul_(2)
    return count(1)


def _observe(model: Any, *_: Any) -> ticketkit.Figures:
    model["norm"].running_mean.add_(1)
    return count(1)


def _backward(model: nn.Module, *_: Any) -> ticketkit.Figures:
    with torch.enable_grad():
        model(torch.rand(2, 2, 6, 6)).sum().backward()
    return count(1)


def _accumulate(model: Any, *_: Any) -> ticketkit.Figures:
    model["conv"].weight.grad.add_(1)
    return count(1)


def _freeze(model: nn.Module, *_: Any) -> ticketkit.Figures:
    model.requires_grad_(requires_grad=False)
    return count(1)


def _replace(model: Any, *_: Any) -> ticketkit.Figures:
    model["linear"].weight = nn.Parameter(torch.zeros(4, 6))
    return count(1)


def _remove(model: Any, *_: Any) -> ticketkit.Figures:
    model["linear"].bias = None
    return count(1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_train, "the mode of "),
        (_step, "linear.weight"),
        (_observe, "norm.running_mean"),
        (_backward, "linear.weight"),
        (_accumulate, "conv.weight"),
        (_freeze, "conv.weight, conv.bias"),
        (_replace, "linear.weight"),
        (_remove, "linear.bias"),
    ],
)
def test_an_evaluator_that_changes_the_network_is_refused(change: Any, told: str) -> None:
    model: Any = cases.runnable().train()
    model["conv"].weight.grad = torch.ones_like(model["conv"].weight)
    with pytest.raises(
        ticketkit.PluginError, match=f"'looking'.*evaluate changed the network.*{told}"
    ):
        evaluate(model, TensorDataset(*pictures()), Looking(change))
    assert model.training


def test_a_change_that_is_taken_back_by_value_alone_is_no_leave_to_make_it() -> None:
    def there_and_back(model: Any, *_: Any) -> ticketkit.Figures:
        model["linear"].weight.neg_().neg_()
        return count(1)

    with pytest.raises(ticketkit.PluginError, match="changed the network"):
        looked(there_and_back)


@pytest.mark.parametrize(
    ("what", "error", "told"),
    [
        (lambda *_: 1 / 0, ticketkit.PluginError, "'looking'.*ZeroDivisionError"),
        (lambda *_: 0.5, ticketkit.PluginError, "evaluate returned float, where figures"),
        (lambda *_: {"it": torch.zeros(())}, ticketkit.PluginError, "evaluate returned 'it': Tens"),
        (
            lambda *_: {"it": ticketkit.Estimate(-math.inf, 1)},
            ticketkit.PluginError,
            "evaluate returned the value -inf of it",
        ),
        (
            lambda m, d, c: count(len(list(ticketkit.outputs_of(m, [], 8)))),
            ticketkit.EvaluationError,
            "there is no data",
        ),
    ],
)
def test_what_evaluate_does_wrong_is_named(what: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        looked(what)


def test_a_part_that_measures_nothing_is_told() -> None:
    class Idle(ticketkit.Evaluator):
        name = "idle"

    with pytest.raises(ticketkit.UsageError, match="'idle' has neither start nor evaluate"):
        evaluate(cases.runnable(), TensorDataset(*pictures()), Idle())


RESULTS = {
    "ood:against=noise": {
        "noise.msp": ticketkit.Estimate(0.7, 3),
        "noise.energy": ticketkit.Estimate(0.6, 3),
    },
    "accuracy": {"top1": ticketkit.Estimate(0.9, 3), "per_class": ticketkit.Estimate(0.8, 3)},
}


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("accuracy", 0.9),
        ("accuracy.top1", 0.9),
        ("accuracy.per_class", 0.8),
        ("ood", 0.7),
        ("ood.noise.energy", 0.6),
    ],
)
def test_a_metric_names_an_evaluator_or_a_figure_of_it(metric: str, value: float) -> None:
    assert figure_of(RESULTS, metric).value == value


@pytest.mark.parametrize("metric", ["acc", "accuracy.top5", "ood.noise", "top1", ""])
def test_a_metric_that_was_not_measured_is_told_with_those_that_were(metric: str) -> None:
    told = rf"no figure '{metric}' was measured; found ood:against=noise.noise.msp, ood"
    with pytest.raises(ticketkit.UsageError, match=told):
        figure_of(RESULTS, metric)
