"""What every criterion promises."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch

import ticketkit
from ticketkit.testing import cases
from ticketkit.testing.laws import DrawnLaws, promise


class CriterionLaws(DrawnLaws):
    """The laws of a criterion; those about pieces hold where it says that it is elementwise.

    One that collects is given a statistic of positive numbers, but in draws, and whole layers.
    """

    kind = "criterion"
    part: ClassVar[ticketkit.Criterion]

    def test_scores_are_finite_and_of_the_weights_shape(self) -> None:
        """One floating score for each weight, for zeros and for equal weights as well."""
        for where, weight in self._weights():
            scores = self._score(weight)
            promise(
                isinstance(scores, torch.Tensor) and scores.is_floating_point(),
                f"{where}: scores are a floating tensor, found {getattr(scores, 'dtype', scores)}",
            )
            promise(
                scores.shape == weight.shape,
                f"{where}: scores have the weight's shape, found {tuple(scores.shape)}",
            )
            bad = int((~torch.isfinite(scores)).sum())
            promise(not bad, f"{where}: scores are finite, found {bad} that are NaN or infinite")

    def test_the_weight_is_left_alone(self) -> None:
        """`score` changes no bit of the weight that it is given."""
        for where, weight in self._weights():
            before = weight.clone()
            self._score(weight)
            promise(_same(weight, before), f"{where}: score changed the weight that it was given")

    def test_scores_are_the_same_for_the_same_seed_and_name(self) -> None:
        """Asked twice, a criterion says the same."""
        for where, weight in self._weights():
            same = _same(self._score(weight), self._score(weight.clone()))
            promise(same, f"{where}: two calls with one seed and name gave different scores")

    def test_scores_do_not_depend_on_the_layout_in_memory(self) -> None:
        """The same values give the same scores, however they are stored."""
        for where, weight in self._weights():
            turned = weight.movedim(0, -1).contiguous().movedim(-1, 0)
            spread = weight.repeat_interleave(2, dim=-1)[..., ::2]
            for stored in (turned, spread):
                promise(
                    _close(self._score(stored), self._score(weight)),
                    f"{where}: other scores for the same weights in strides {stored.stride()}; "
                    "drawn numbers belong in a new contiguous tensor",
                )

    def test_it_draws_lots_from_its_context_alone(self) -> None:
        """Global generators are neither read nor advanced: `context.generator` is there for it."""
        weight = next(self._weights())[1]
        scores = []
        with torch.random.fork_rng(devices=[]):
            for seed in (1, 2):
                torch.manual_seed(seed)
                state, other = torch.random.get_rng_state(), random.getstate()
                scores.append(self._score(weight))
                promise(
                    torch.equal(torch.random.get_rng_state(), state) and random.getstate() == other,
                    "score took numbers from a global generator: use context.generator",
                )
        promise(_same(*scores), "scores depend on the global seed of torch: use context.generator")

    def test_an_elementwise_score_depends_on_its_weight_alone(self) -> None:
        """Scores of a piece are that piece of the scores, and scores move with their weights."""
        if not self._in_pieces():
            return
        advice = "set elementwise = False where a score depends on other weights or on position"
        for where, weight in self._weights():
            flat = weight.reshape(-1)
            scores = self._score(flat)
            for piece in (slice(0, 1), slice(1, 6), slice(flat.numel() // 2, None), slice(0, 0)):
                promise(
                    _close(self._score(flat[piece]), scores[piece]),
                    f"{where}: the scores of a piece are not that piece of the scores; {advice}",
                )
            order = torch.randperm(flat.numel(), generator=torch.Generator().manual_seed(0))
            promise(
                _close(self._score(flat[order]), scores[order]),
                f"{where}: scores do not move with their weights; {advice}",
            )

    def test_a_draw_works_with_it(self) -> None:
        """A draw meets its budget exactly, the same way each time and for each layout."""
        network = cases.runnable() if self._collects() else cases.mixed()
        mask = self.draw(network).mask
        budget = mask.size - round(0.5 * mask.size)
        promise(mask.kept == budget, f"a draw kept {mask.kept} weights of a budget of {budget}")
        for other in (network, cases.reordered(network), cases.channels_last(network)):
            promise(self.draw(other).mask == mask, "the same weights were drawn another mask")

    def test_it_collects_a_finite_tensor_of_each_parameter(self) -> None:
        """`collect`, where there is one, names each weight and gives a tensor of its shape."""
        if not self._collects():
            return
        network, found = cases.runnable().eval(), self._collected(cases.runnable().eval())
        for name in cases.layers_of(network):
            shape, statistic = network.get_parameter(name).shape, found.get(name)
            promise(
                isinstance(statistic, torch.Tensor) and statistic.is_floating_point(),
                f"collect gives a floating tensor for {name}, found {statistic!r}",
            )
            promise(
                statistic is not None and statistic.shape == shape,
                f"collect gives {name} a tensor of {tuple(shape)}, found {statistic!r}",
            )
            finite = statistic is not None and bool(torch.isfinite(statistic).all())
            promise(finite, f"collect gives finite tensors, found {statistic!r} for {name}")

    def test_collecting_leaves_the_network_alone(self) -> None:
        """`collect` changes no weight, no gradient, no statistic and no mode of the network."""
        if not self._collects():
            return
        network = cases.runnable().eval()
        before = cases.snapshot(network)
        self._collected(network)
        after = cases.snapshot(network)
        changed = [what for what in before if before[what] != after[what]]
        promise(not changed, f"collect changed {', '.join(changed)}")

    def test_collecting_twice_finds_the_same(self) -> None:
        """The same network and batches give the same statistics."""
        if not self._collects():
            return
        once, again = (self._collected(cases.runnable().eval()) for _ in range(2))
        for name in cases.layers_of(cases.runnable()):
            same = _same(once[name], again[name])
            promise(same, f"collect found other numbers for {name} the second time")

    def draw(
        self, network: torch.nn.Module, sparsity: float = 0.5, **options: Any
    ) -> ticketkit.Ticket:
        """As of any part; where the criterion collects, with batches."""
        if self._collects():
            network = network if isinstance(network, cases.Runnable) else cases.runnable()
            options = {"batches": cases.batches(), **options}
        return super().draw(network, sparsity, **options)

    def _collects(self) -> bool:
        return type(self.part).collect is not ticketkit.Criterion.collect

    def _in_pieces(self) -> bool:
        return self.part.elementwise and not self._collects()

    def _collected(self, network: torch.nn.Module) -> Mapping[str, torch.Tensor]:
        loss = torch.nn.functional.cross_entropy
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # as a draw does
            return self.part.collect(network, cases.batches(), loss)

    def _weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Weights as a criterion is given them: flat pieces, or whole layers of each kind."""
        layers = cases.scores_of(cases.mixed())
        found = {name: weight.contiguous() for name, weight in layers.items()}
        found |= {"zeros": torch.zeros(6, 4), "equal weights": torch.full((6, 4), -0.25)}
        if self._in_pieces():
            found = {name: weight.reshape(-1) for name, weight in found.items()}
            found["no weights"] = torch.empty(0)
        for name, weight in found.items():
            for dtype in (torch.float32, torch.float64):
                yield f"{name} in {dtype}", weight.to(dtype)

    def _score(self, weight: torch.Tensor) -> torch.Tensor:
        statistic = None
        if self._collects():
            generator = torch.Generator().manual_seed(0)
            statistic = torch.rand(weight.shape, generator=generator, dtype=weight.dtype)
        return self.part.score(weight, ticketkit.Context("layer.weight", 0, statistic))


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same bits, signs of zeros and NaN among them."""
    return one.detach().numpy().tobytes() == other.detach().numpy().tobytes()


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal up to the rounding of their dtype."""
    rounding = 16 * torch.finfo(other.dtype).eps
    return one.shape == other.shape and torch.allclose(one, other, rtol=rounding, atol=0)
