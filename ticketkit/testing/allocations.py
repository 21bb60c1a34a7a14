"""What every allocation promises."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import torch

import ticketkit
from ticketkit.testing import cases
from ticketkit.testing.laws import DrawnLaws, promise

Budgets = Mapping[str, int] | None


class AllocationLaws(DrawnLaws):
    """The laws of an allocation. None, for one ranking over all layers, keeps them all."""

    kind = "allocation"
    part: ClassVar[ticketkit.Allocation]
    sparsities: ClassVar[tuple[float, ...]] = (0.0, 0.2, 0.5, 0.8, 0.9, 0.99)
    """What the laws ask for, in rising order; the first is 0."""

    def test_it_names_every_layer_and_no_other(self) -> None:
        """Budgets are None, or have one entry for each layer."""
        for sparsity, budgets in self._each():
            odd = sorted(set(budgets) ^ set(_layers()))
            promise(
                not odd, f"sparsity {sparsity}: budgets name every layer and no other: not so {odd}"
            )

    def test_a_budget_is_a_whole_number_within_its_layer(self) -> None:
        """From 0 to the layer's size, an int, even where the sparsity is very high or 0."""
        layers = _layers()
        for sparsity, budgets in self._each():
            for name, share in budgets.items():
                size = layers[name].size
                promise(
                    type(share) is int and 0 <= share <= size,
                    f"sparsity {sparsity}: the budget of {name} is an int from 0 to {size}, "
                    f"found {share!r}",
                )

    def test_the_same_layers_get_the_same_budgets(self) -> None:
        """Whatever order they come in, and every time."""
        layers = _layers()
        for sparsity, budgets in self._each():
            for other in (layers, dict(reversed(list(layers.items())))):
                again = self._budgets(other, sparsity)
                promise(
                    again == budgets,
                    f"sparsity {sparsity}: other budgets for the same layers in the order "
                    f"{list(other)}: {again}, where {budgets} was found",
                )

    def test_sparsity_0_keeps_everything(self) -> None:
        """Nothing is removed where nothing is to be removed."""
        layers = _layers()
        sizes = {name: layer.size for name, layer in layers.items()}
        budgets = self._budgets(layers, 0.0)
        if budgets is not None:
            promise(
                dict(budgets) == sizes, f"sparsity 0 keeps all of {sizes}, found {dict(budgets)}"
            )

    def test_a_higher_sparsity_gives_no_layer_more(self) -> None:
        """Budgets fall, or stay, as the sparsity rises: masks are nested."""
        for (low, more), (high, less) in itertools.pairwise(self._each()):
            for name in more:
                promise(
                    less[name] <= more[name],
                    f"{name} keeps {more[name]} at sparsity {low}, but {less[name]} at {high}",
                )

    def test_the_layers_are_left_alone(self) -> None:
        """`budgets` does not change the mapping that it is given."""
        layers = _layers()
        self.part.budgets(layers, _keep(0.5))
        promise(layers == _layers(), "budgets changed the layers that it was given")

    def test_a_draw_works_with_it(self) -> None:
        """A draw of single weights meets each layer's budget exactly."""
        network, layers = cases.mixed(), _layers()
        total = sum(layer.size for layer in layers.values())
        for sparsity in self.sparsities:
            budgets = self._budgets(layers, sparsity)
            mask = self.draw(network, sparsity, allow_empty_layers=True).mask
            if budgets is None:
                expected = total - round(sparsity * total)
                promise(mask.kept == expected, f"{mask.kept} kept, where {expected} were asked for")
                continue
            kept = {name: int(mask[name].sum()) for name in mask}
            promise(kept == dict(budgets), f"sparsity {sparsity}: {kept} kept of {dict(budgets)}")

    def test_rescaled_scores_are_finite_and_as_many(self) -> None:
        """`rescale`, where there is one, returns a finite number for each score."""
        for where, scores, rescaled in self._rescaled():
            promise(
                isinstance(rescaled, torch.Tensor) and rescaled.is_floating_point(),
                f"{where}: rescale returns a floating tensor, found {rescaled!r}",
            )
            promise(
                rescaled.shape == scores.shape,
                f"{where}: {tuple(scores.shape)} scores became {tuple(rescaled.shape)}",
            )
            bad = int((~torch.isfinite(rescaled)).sum())
            promise(not bad, f"{where}: rescaled scores are finite, found {bad} that are not")

    def test_rescaling_keeps_the_order(self) -> None:
        """A higher score stays as high or higher, and equal scores stay equal."""
        for where, scores, rescaled in self._rescaled():
            order = scores.argsort(stable=True)
            before, after = scores[order].diff(), rescaled[order].diff()
            promise(not bool((after < 0).any()), f"{where}: a score was overtaken by a lower one")
            equal = not bool((after[before == 0] != 0).any())
            promise(equal, f"{where}: equal scores became unequal")

    def _rescaled(self) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """Scores of many kinds, and what becomes of them; signed ones may be refused."""
        if type(self.part).rescale is ticketkit.Allocation.rescale:
            return
        normal = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        found = {"ties": (normal * 2).round().abs(), "normal scores": normal.abs()}
        found |= {"zeros": torch.zeros_like(normal), "equal scores": torch.ones_like(normal)}
        found |= {"one score": normal[:1].abs(), "no scores": normal[:0]}
        found |= {f"scores of {scale}": scale * normal.abs() for scale in (1e-300, 1e300)}
        for where, scores in found.items():
            yield where, scores, self.part.rescale(scores.clone())
        with contextlib.suppress(ticketkit.UsageError):
            yield "scores below zero", normal, self.part.rescale(normal.clone())

    def _each(self) -> list[tuple[float, Mapping[str, int]]]:
        """The budgets of each sparsity; none at all where they are None."""
        found = [(sparsity, self._budgets(_layers(), sparsity)) for sparsity in self.sparsities]
        return [(sparsity, budgets) for sparsity, budgets in found if budgets is not None]

    def _budgets(self, layers: Mapping[str, ticketkit.Layer], sparsity: float) -> Budgets:
        return self.part.budgets(dict(layers), _keep(sparsity))


def _layers() -> dict[str, ticketkit.Layer]:
    return cases.layers_of(cases.mixed())


def _keep(sparsity: float) -> Callable[[int], int]:
    return lambda size: size - round(sparsity * size)
