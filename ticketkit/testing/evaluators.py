"""What every evaluator promises."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import TensorDataset

import ticketkit
from ticketkit.testing import answers, cases
from ticketkit.testing.laws import PartLaws, promise

_ROUNDING = 1e-4
_COUNT, _SIDE = 13, 8  # a number of pictures that no batches of equal size make up


class EvaluatorLaws(PartLaws):
    """The laws of an evaluator, tried on thirteen small pictures by `ticketkit.evaluate`.

    `segmentation`: whether each pixel has a class. `varies` names the figures that differ from one
    measurement to the next, such as a latency, and that no seed decides.
    """

    kind = "evaluator"
    part: ClassVar[ticketkit.Evaluator]
    segmentation: ClassVar[bool] = False
    varies: ClassVar[tuple[str, ...]] = ()

    def test_its_figures_have_the_same_names_whatever_the_data(self) -> None:
        """So have they the same units, order and sense: results of many networks are one table."""
        images, targets = self._data().tensors
        halves = [TensorDataset(images[at::2], targets[at::2]) for at in (0, 1)]
        once, again = (_heads(self._figures(data=half)) for half in halves)
        promise(once == again, f"on other data {once} were {again}")

    def test_the_network_is_left_as_it_was_found(self) -> None:
        """Weights, statistics, gradients, what is frozen, modes and the global generators of
        torch, NumPy and Python are as they were, to the bit."""
        model = cases.in_training(self._network())
        before = cases.snapshot(model)
        self._figures(model)
        after = cases.snapshot(model)
        changed = [name for name in before if before[name] != after[name]]
        promise(not changed, f"measuring changed {', '.join(changed)}")

    def test_the_data_are_left_alone(self) -> None:
        """Neither a data set nor batches change: other evaluators measure on them too."""
        for data in (self._data(), self._batches()):
            self._measured_or_refused("data", data=data)
            tensors = data.tensors if isinstance(data, TensorDataset) else data[0]
            same = all(map(torch.equal, tensors, self._data().tensors))
            promise(same, "measuring changed pictures or targets")

    def test_the_size_of_batches_does_not_matter(self) -> None:
        """The figures are the same ones, to rounding, at any batch size."""
        expected = self._figures()
        for batch in (1, 5):
            found = self._figures(batch=batch)
            self._promise_alike(found, expected, f"in batches of {batch}", _ROUNDING)

    def test_the_same_seed_gives_the_same_figures(self) -> None:
        """To the bit, whatever the global generators: `context.generator` is there for lots."""
        with cases.seeded(1):
            once = self._figures(seed=7)
        with cases.seeded(2):
            again = self._figures(seed=7)
        self._promise_alike(again, once, "with one seed, the second time", 0)

    def test_the_order_of_samples_does_not_matter_to_outputs_alone(self) -> None:
        """Data may be sorted by class: an evaluator that has only `start` finds the same value. An
        interval may be resampled."""
        if type(self.part).evaluate is not ticketkit.Evaluator.evaluate:
            return
        backwards = TensorDataset(*(each.flip(0) for each in self._data().tensors))
        once, again = (
            {name: dataclasses.replace(each, low=None, high=None) for name, each in found.items()}
            for found in (self._figures(), self._figures(data=backwards))
        )
        self._promise_alike(again, once, "in another order", _ROUNDING)

    def test_pictures_may_be_bytes(self) -> None:
        """Pictures in uint8 serve too: `ticketkit.outputs_of` divides them by 255."""
        images, targets = self._data().tensors
        images = (255 * images).round()
        found = self._figures(data=TensorDataset(images.byte(), targets))
        expected = self._figures(data=TensorDataset(images / 255, targets))
        self._promise_alike(found, expected, "of pictures in bytes", _ROUNDING)

    def test_batches_serve_as_a_data_set_does_or_are_refused(self) -> None:
        """A list of batches, such as a loader, gives figures, or an error of ticketkit's kinds."""
        self._measured_or_refused("a list of batches", data=self._batches())

    def test_one_sample_is_measured_or_refused(self) -> None:
        """A single picture gives figures, or an error of ticketkit's kinds that says why not."""
        images, targets = self._data().tensors
        for at in (0, 1):
            one = TensorDataset(images[at : at + 1], targets[at : at + 1])
            self._measured_or_refused("one sample", data=one)

    def test_empty_data_is_an_evaluation_error(self) -> None:
        """Of nothing there is no figure."""
        empty = TensorDataset(*(each[:0] for each in self._data().tensors))
        self._promise_refused("empty data", data=empty)

    def test_outputs_that_are_not_finite_are_an_evaluation_error(self) -> None:
        """NaN and infinite outputs, be it of one sample, are never counted as an answer."""
        for bad in (math.nan, math.inf):
            model = answers.last_times(self._network(), bad)
            self._promise_refused(f"an output of {bad}", model)

    def test_labels_that_are_no_class_are_an_evaluation_error(self) -> None:
        """A label below 0, or of more classes than there are outputs, is never just wrong."""
        images, targets = self._data().tensors
        for label in (-1, 3 if self.segmentation else 4):
            bad = targets.clone()
            bad[-1] = label
            self._promise_refused(f"label {label}", data=TensorDataset(images, bad))

    def test_outputs_of_too_few_dimensions_are_refused(self) -> None:
        """Outputs that are not (batch, classes, ...) are an error of ticketkit's kinds."""
        for dimensions in range(1, 4 if self.segmentation else 2):
            model = answers.flattened(self._network(), dimensions)
            self._promise_refused(
                f"outputs of {dimensions} dimensions", model, kind=ticketkit.TicketkitError
            )

    def _network(self) -> nn.Module:
        if self.segmentation:
            return cases.segmenting()
        return answers.varied(cases.pictures(_COUNT, _SIDE)[0])

    def _data(self) -> TensorDataset:
        made = cases.maps if self.segmentation else cases.pictures
        return TensorDataset(*made(_COUNT, _SIDE))

    def _batches(self) -> list[tuple[torch.Tensor, ...]]:
        return [self._data().tensors]

    def _figures(
        self, model: nn.Module | None = None, data: Any = None, batch: int = 256, seed: int = 0
    ) -> Any:
        model = self._network() if model is None else model
        data = self._data() if data is None else data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an evaluator may warn of what these networks are
            results = ticketkit.evaluate(model, data, [self.part], batch=batch, seed=seed)
        return next(iter(results.values()))

    def _measured_or_refused(
        self, what: str, model: nn.Module | None = None, data: Any = None
    ) -> Any:
        """The figures, or the error of ticketkit's kinds, which is none of a plugin that failed."""
        try:
            return self._figures(model, data)
        except ticketkit.PluginError as error:
            raise AssertionError(
                f"{what} made it fail, where figures are due, or a ticketkit.EvaluationError: "
                f"{error}"
            ) from error
        except ticketkit.TicketkitError as error:
            return error

    def _promise_refused(
        self,
        what: str,
        model: nn.Module | None = None,
        data: Any = None,
        kind: type[Exception] = ticketkit.EvaluationError,
    ) -> None:
        found = self._measured_or_refused(what, model, data)
        promise(
            isinstance(found, kind),
            f"{what} gave {found!r}, where a ticketkit.{kind.__name__} is due: "
            "ticketkit.check_predictions raises one",
        )

    def _promise_alike(self, found: Any, expected: Any, when: str, tolerance: float) -> None:
        promise(list(found) == list(expected), f"{when}, {list(expected)} were {list(found)}")
        for name in set(found) - set(self.varies):
            one, other = found[name], expected[name]
            promise(_alike(one, other, tolerance), f"{when}, {name} is {one}, where it was {other}")


def _heads(figures: ticketkit.Figures) -> list[tuple[str, str, str]]:
    return [(name, each.unit, each.better) for name, each in figures.items()]


def _alike(one: ticketkit.Estimate, other: ticketkit.Estimate, tolerance: float) -> bool:
    pairs = zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    return all(
        math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
        if isinstance(a, float) and isinstance(b, float)
        else a == b
        for a, b in pairs
    )
