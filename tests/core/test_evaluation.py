"""What a network is worth on data: one forward pass, shared by every evaluator."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ticketkit
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
        if self._compute:
            return self._compute()
        return {"n": ticketkit.Estimate(float(self.n), self.n)}


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
    assert [each.n for figures in found.values() for each in figures.values()] == [33, 33, 33]
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


def test_a_callers_inference_mode_changes_nothing() -> None:
    images, labels = pictures()
    expected = evaluate(cases.runnable(), TensorDataset(images, labels))
    with torch.inference_mode():
        made = TensorDataset(images.clone(), labels.clone())
        assert evaluate(cases.runnable(), made) == expected


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


# Fault row 44
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
        (Counting(compute=lambda: 0.5), "compute returned float, where figures, "),
        (Counting(compute=dict), "compute returned nothing, where figures"),
        (Counting(compute=lambda: {"a": 0.5}), "compute returned 'a': float, where a name and a "),
        (Counting(compute=lambda: {1: ticketkit.Estimate(1.0, 3)}), "compute returned 1: Estimate"),
        (
            Counting(compute=lambda: {"a": ticketkit.Estimate(torch.nan, 3)}),
            "value is a finite number, found nan",
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
    """Needs the network: does with it what it was told to, and tells how many pictures there are.

    With `starts` it gathers outputs as well.
    """

    name = "looking"

    def __init__(self, look: Any = None) -> None:
        self.look = look

    def evaluate(self, model: Any, data: Any, context: Any) -> ticketkit.Figures:
        if self.look:
            self.look(model, context)
        count = sum(len(outputs) for outputs, _ in ticketkit.outputs_of(model, data, context.batch))
        return {"pictures": ticketkit.Estimate(float(count), count)}


class Both(Looking):
    """Looks at the network, and at the outputs of the shared pass."""

    name = "both"

    def start(self) -> Any:
        return _Counter(None, None)


def test_an_evaluator_that_needs_the_network_has_it_in_eval_mode_without_gradients() -> None:
    model, told = cases.runnable().train(), []

    def look(found: nn.Module, context: ticketkit.EvaluationContext) -> None:
        assert found is model
        told.append((found.training, torch.is_grad_enabled(), context.seed, context.batch))
        assert context.gathered is None

    data = TensorDataset(*pictures())
    found = ticketkit.evaluate(model, data, [Looking(look), "accuracy"], batch=5, seed=7)
    assert told == [(False, False, 7, 5)]
    assert [list(figures) for figures in found.values()] == [["pictures"], ["top1", "per_class"]]
    assert model.training


def test_what_an_evaluator_started_has_seen_the_shared_pass_when_it_is_asked() -> None:
    gathered = []
    part = Both(lambda _, context: gathered.append(context.gathered.n))
    evaluate(cases.runnable(), TensorDataset(*pictures()), part, "accuracy")
    assert gathered == [33]


def test_an_evaluator_that_needs_the_network_alone_costs_no_pass() -> None:
    class Blind(ticketkit.Evaluator):
        """Counts parameters."""

        name = "blind"

        def evaluate(self, model: Any, data: Any, context: Any) -> ticketkit.Figures:
            return {"tensors": ticketkit.Estimate(len(list(model.parameters())), 1)}

    def fail(*_: Any) -> None:
        raise AssertionError

    model = cases.runnable()
    model.register_forward_hook(fail)
    found = evaluate(model, TensorDataset(*pictures()), Blind())
    (figures,) = found.values()
    assert figures["tensors"].value == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("look", "changed"),
    [
        (lambda model, _: model["conv"].weight.add_(1), "conv.weight"),
        (lambda model, _: model["norm"].running_mean.add_(1), "norm.running_mean"),
        (lambda model, _: model["conv"].weight.data.add_(1), "conv.weight"),
        (lambda model, _: model["conv"].weight.requires_grad_(False), "conv.weight"),
        (lambda model, _: model["norm"].train(), r"norm\.running_mean, .*, the mode of norm"),
        (
            lambda model, _: setattr(model["conv"].weight, "grad", model["conv"].weight.clone()),
            "conv.weight",
        ),
    ],
)
def test_a_network_that_an_evaluator_changed_is_told(look: Any, changed: str) -> None:
    data = TensorDataset(*pictures())
    told = f"part 'looking' .*evaluate changed the network: {changed}"
    with pytest.raises(ticketkit.PluginError, match=told):
        evaluate(cases.runnable(), data, Looking(look))


def test_an_iterator_has_one_pass_and_a_list_of_batches_many() -> None:
    model, batches = cases.runnable(), [pictures(9), pictures(7)]
    assert evaluate(model, iter(batches))["accuracy"]["top1"].n == 16
    both = evaluate(model, batches, "accuracy", Looking())
    assert both["accuracy"]["top1"].n == both[f"{__name__}:Looking"]["pictures"].n == 16
    told = "2 passes over the data are needed, and an iterator has but one"
    with pytest.raises(ticketkit.UsageError, match=told):
        evaluate(model, iter(batches), "accuracy", Looking())


def test_an_evaluator_of_nothing_is_refused() -> None:
    class Nothing(ticketkit.Evaluator):
        """Has neither method."""

        name = "nothing"

    with pytest.raises(ticketkit.UsageError, match="'nothing' has neither start nor evaluate"):
        evaluate(cases.runnable(), TensorDataset(*pictures()), Nothing())


def test_a_metric_names_a_figure_or_the_first_of_an_evaluator() -> None:
    found = evaluate(cases.runnable(), TensorDataset(*pictures()))
    results = {"other:a=1": {"x": found["accuracy"]["top1"]}, **found}
    assert ticketkit.figure_of(results, "accuracy") is found["accuracy"]["top1"]
    assert ticketkit.figure_of(results, "accuracy.per_class") is found["accuracy"]["per_class"]
    assert ticketkit.figure_of(results, "other.x") is found["accuracy"]["top1"]
    told = r"no figure 'accuracy\.top9' was measured; found other:a=1\.x, accuracy\.top1"
    with pytest.raises(ticketkit.UsageError, match=told):
        ticketkit.figure_of(results, "accuracy.top9")


def test_a_metric_of_outputs_is_what_evaluate_finds_of_the_network() -> None:
    model, data = cases.runnable(), TensorDataset(*pictures())
    specs, counts = ("accuracy", "calibration:bins=3"), list[int]()
    expected = evaluate(model, data, *specs, batch=8)
    whole = "ticketkit_plugins.evaluators.accuracy:Accuracy"
    expected |= {whole: expected["accuracy"]}
    metrics = ("accuracy", "accuracy.per_class", "calibration:bins=3.nll")
    for metric in (*metrics, whole, f"{whole}.per_class"):
        with torch.no_grad():
            outputs = ticketkit.outputs_of(model.eval(), data, 8)
            found = ticketkit.measured_by(metric, outputs, counts.append)
        assert found == ticketkit.figure_of(expected, metric)
    assert sum(counts) == 5 * 33
    assert max(counts) <= 8


SHY = """
import ticketkit

class Shy(ticketkit.Evaluator):
    name = "shy"

    def start(self):
        return self

    def update(self, outputs, targets):
        pass

    def compute(self):
        return 0.5
"""


@pytest.mark.parametrize(
    ("metric", "kind", "told"),
    [
        ("accuracy.top9", ticketkit.UsageError, r"no figure 'accuracy\.top9' was measured; found"),
        ("acuracy.top1", ticketkit.UsageError, "unknown evaluator 'acuracy'.*mean 'accuracy'"),
        ("cost.macs", ticketkit.UsageError, "metric is an evaluator of outputs alone.* 'cost'"),
        ("shy:Shy", ticketkit.PluginError, "part 'shy' not registered failed: .* returned float"),
    ],
)
def test_a_metric_that_is_none_or_fails_is_told(
    metric: str, kind: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shy.py").write_text(SHY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(kind, match=told):
        ticketkit.measured_by(metric, [(torch.zeros(3, 4), torch.arange(3))])


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        ([], "there is no sample to measure"),
        ([(torch.zeros(3, 4), torch.tensor([0, 1, 4]))], "sample 2: label 4 is out of range"),
        (2 * [(torch.zeros(3, 4), torch.arange(3))] + [(torch.zeros(1, 4) / 0, [0])], "sample 6: "),
    ],
)
def test_outputs_that_mean_nothing_are_told_by_their_samples(outputs: Any, told: str) -> None:
    with pytest.raises(ticketkit.EvaluationError, match=told):
        ticketkit.measured_by("accuracy", outputs)


def test_what_is_no_network_and_what_has_no_name_is_told() -> None:
    class Nameless(Looking):
        """Has no name."""

        name = None  # type: ignore[assignment]

    data = TensorDataset(*pictures())
    with pytest.raises(ticketkit.UsageError, match=r"model is a torch\.nn\.Module, found function"):
        evaluate(lambda inputs: inputs, data)  # type: ignore[arg-type]
    with pytest.raises(ticketkit.UsageError, match="an evaluator has a name, a text: Nameless has"):
        evaluate(cases.runnable(), data, Nameless())
