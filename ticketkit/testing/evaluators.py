"""What every evaluator promises."""

from __future__ import annotations

import dataclasses
import math
import random
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import TensorDataset

import ticketkit
from ticketkit.testing import cases
from ticketkit.testing.laws import PartLaws, promise

Samples = tuple[torch.Tensor, torch.Tensor]


class EvaluatorLaws(PartLaws):
    """The laws of an evaluator, tried on small networks: of pictures of (2, 6, 6) in 4 classes."""

    kind = "evaluator"
    part: ClassVar[ticketkit.Evaluator]
    segmentation: ClassVar[bool] = False
    """Whether it is of networks that have an output for each pixel."""
    varies: ClassVar[tuple[str, ...]] = ()
    """The figures that are never the same twice, such as a latency."""

    def test_its_figures_are_finite_and_say_what_they_are(self) -> None:
        """Each has a finite value inside its interval, a count of samples, and a better side."""
        for name, found in self._figures().items():
            promise(type(found.n) is int and found.n > 0, f"{name}: n counts samples: {found.n!r}")
            promise(isinstance(found.unit, str), f"{name}: unit is text, found {found.unit!r}")
            promise(
                found.better in ("higher", "lower"),
                f"{name}: better is 'higher' or 'lower', found {found.better!r}",
            )
            _promise_interval(name, found)

    def test_the_network_is_left_alone(self) -> None:
        """Weights, gradients, statistics, modes and torch's generators are as they were."""
        model = self._model().train()
        model["conv"].requires_grad_(requires_grad=False)
        for parameter in model["norm"].parameters():
            parameter.grad = torch.ones_like(parameter)
        before = cases.snapshot(model)
        self._figures(model=model)
        after = cases.snapshot(model)
        changed = [name for name in before if before[name] != after[name]]
        promise(not changed, f"measuring changed {', '.join(changed)}")

    def test_the_data_are_left_alone(self) -> None:
        """Not a bit of the pictures and targets changes."""
        samples = self._samples()
        self._figures(samples=samples)
        same = map(torch.equal, samples, self._samples())
        promise(all(same), "measuring changed the pictures or targets that it was given")

    def test_batches_of_another_size_give_the_same_figures(self) -> None:
        """How many samples are measured at once changes nothing but the last digits."""
        whole = self._figures()
        for batch in (1, 2, 3):
            self._promise_same(whole, self._figures(batch=batch), f"batches of {batch} gave")

    def test_the_same_seed_gives_the_same_figures(self) -> None:
        """They are equal to the bit when they are measured again, unless `varies` names them."""
        self._promise_same(self._figures(), self._figures(), "the second time gave", exactly=True)

    def test_it_draws_lots_from_its_context_alone(self) -> None:
        """Global generators are neither read nor advanced: `context.generator` is there for it."""
        found = []
        with torch.random.fork_rng(devices=[]):
            for seed in (1, 2):
                torch.manual_seed(seed)
                state = random.getstate()
                found.append(self._figures())
                advanced = random.getstate() != state
                promise(not advanced, "it took numbers from random: use context.generator")
        what = "another global seed of torch, where context.generator is due, gave"
        self._promise_same(found[0], found[1], what, exactly=True)

    def test_the_order_of_samples_does_not_matter(self) -> None:
        """Where outputs alone are measured, samples in reverse order give the same values.

        Drawn intervals may differ. A part with `evaluate` may draw a sample, or noise by place.
        """
        if type(self.part).evaluate is ticketkit.Evaluator.evaluate:
            pictures, targets = self._samples()
            backwards = self._figures(samples=(pictures.flip(0), targets.flip(0)))
            whole = _values(self._figures())
            self._promise_same(whole, _values(backwards), "the reverse order gave")

    def test_one_sample_is_measured_or_refused(self) -> None:
        """It is enough, or an `EvaluationError` says what is needed."""
        pictures, targets = self._samples()
        found = self._outcome(samples=(pictures[-1:], targets[-1:]))
        failed = isinstance(found, ticketkit.PluginError)
        promise(not failed, f"one sample is too few for it, and it does not say so: {found}")

    def test_no_sample_is_an_error(self) -> None:
        """A number of nothing would be 0/0: it is an `EvaluationError`."""
        pictures, targets = self._samples()
        found = self._outcome(samples=(pictures[:0], targets[:0]))
        told = isinstance(found, ticketkit.EvaluationError)
        promise(told, f"an EvaluationError is due for no sample, found {found}")

    def test_outputs_that_are_no_numbers_are_an_error(self) -> None:
        """NaN or infinity is told: as an output it would be taken for a wrong answer."""
        for bad in (math.nan, math.inf):
            pictures, targets = self._samples()
            pictures[1, 0, 0, 0] = bad
            _promise_error(self._outcome(samples=(pictures, targets)), f"an output of {bad}")

    def test_outputs_without_classes_are_an_error(self) -> None:
        """A network with one number for each picture is refused."""
        mean = nn.Flatten(), nn.AdaptiveAvgPool1d(1), nn.Flatten(0)
        model = nn.Sequential(self._model(), *mean)
        _promise_error(self._outcome(model=model), "outputs of shape (batch,)")

    def test_a_label_that_is_no_class_is_an_error(self) -> None:
        """One out of range is refused; or no label whatsoever has a part in the figures."""
        pictures, targets = self._samples()
        targets[1] = 77
        found = self._outcome(samples=(pictures, targets))
        if not isinstance(found, ticketkit.TicketkitError):
            targets[1] = self._model().eval()(pictures[1:2]).argmax(1)[0]
            other = self._figures(samples=(pictures, targets))
            self._promise_same(other, found, "label 77, which is out of range, gave")

    def _model(self) -> Any:
        return cases.segmenting() if self.segmentation else cases.runnable()

    def _samples(self) -> Samples:
        return cases.maps() if self.segmentation else cases.pictures()

    def _figures(
        self, *, model: nn.Module | None = None, samples: Samples | None = None, batch: int = 256
    ) -> ticketkit.Figures:
        """What it measures of a network."""
        model = self._model() if model is None else model
        data = TensorDataset(*(samples or self._samples()))
        (found,) = ticketkit.evaluate(model, data, [self.part], batch=batch).values()
        return found

    def _outcome(self, **case: Any) -> ticketkit.Figures | ticketkit.TicketkitError:
        """What it measures, or the error that it is."""
        try:
            return self._figures(**case)
        except ticketkit.TicketkitError as error:
            return error

    def _promise_same(
        self, one: ticketkit.Figures, other: ticketkit.Figures, what: str, *, exactly: bool = False
    ) -> None:
        promise(list(one) == list(other), f"{what} {list(other)}, where {list(one)} are due")
        for name in one:
            same = one[name] == other[name] if exactly else _close(one[name], other[name])
            promise(same or name in self.varies, f"{name}: {what} {other[name]}, not {one[name]}")


def _promise_interval(name: str, found: ticketkit.Estimate) -> None:
    ends = [end for end in (found.low, found.high) if end is not None]
    promise(len(ends) != 1, f"{name}: an interval has two ends, or is none: found one, {ends}")
    low, high = ends or (found.value, found.value)
    promise(
        math.isfinite(low) and math.isfinite(high) and low <= found.value <= high,
        f"{name}: the value {found.value} is not in its interval, {low} to {high}",
    )
    promise(
        found.unit != "share" or 0 <= low <= high <= 1,
        f"{name}: a share is from 0 to 1, found {found.value}, from {low} to {high}",
    )


def _promise_error(found: object, what: str) -> None:
    told = isinstance(found, ticketkit.TicketkitError)
    promise(told, f"an error is due for {what}, found {found}")


def _values(figures: ticketkit.Figures) -> ticketkit.Figures:
    return {n: dataclasses.replace(each, low=None, high=None) for n, each in figures.items()}


def _close(one: ticketkit.Estimate, other: ticketkit.Estimate) -> bool:
    rest = (one.n, one.unit, one.better) == (other.n, other.unit, other.better)
    close = partial(math.isclose, rel_tol=1e-4, abs_tol=1e-6)
    return rest and all(map(close, _numbers(one), _numbers(other)))


def _numbers(found: ticketkit.Estimate) -> list[float]:
    return [math.inf if n is None else n for n in (found.value, found.low, found.high)]
