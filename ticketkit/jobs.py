"""The job that a strategy works on: it selects and, where the strategy trains, it trains."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from ticketkit.bits import BlockBits, PackedBits, pack
from ticketkit.blame import blamed
from ticketkit.budgets import Budget, budget_of
from ticketkit.choices import Parts, check_sparsity
from ticketkit.errors import PluginError, UsageError, printable, some
from ticketkit.grids import block_scores, tilings_of
from ticketkit.layer import Layer
from ticketkit.mask import Mask
from ticketkit.options import spec_of
from ticketkit.parts import Context, FinishedRound, Round
from ticketkit.reach import check_reachable
from ticketkit.rounds import Rounds
from ticketkit.scoring import Scores
from ticketkit.sharing import led
from ticketkit.ticket import Ticket

if TYPE_CHECKING:
    from ticketkit.retraining import Retraining, State


@dataclass(frozen=True)
class Asked:
    """What a draw is asked for."""

    parts: Parts
    sparsity: float
    seed: int
    allow_empty_layers: bool

    def budget(self, layers: Mapping[str, Layer], sparsity: float) -> Budget:
        """What a sparsity keeps of these layers."""
        return budget_of(self.parts, layers, sparsity, self.allow_empty_layers)

    def check_reachable(self, layers: Mapping[str, Layer]) -> None:
        """Raise a `UsageError` for a sparsity that is out of reach whatever the weights are."""
        check_reachable(tilings_of(self.parts.scheme, layers), self.budget(layers, self.sparsity))


class StrategyJob:
    """A draw as its strategy sees it: `ticketkit.Job`.

    `scored` makes the scores of the weights as they now are, and `ticket_of` the ticket of a mask
    and the sparsity that it aimed at.
    """

    def __init__(
        self,
        asked: Asked,
        layers: Mapping[str, Layer],
        scored: Callable[[], Scores],
        ticket_of: Callable[[Mask, float], Ticket],
        rounds: Rounds,
        training: Retraining | None,
    ) -> None:
        self.layers = {name: layers[name] for name in sorted(layers)}
        self._asked = asked
        self._scored = scored
        self._ticket_of = ticket_of
        self._rounds = rounds
        self._training = training
        self._failure: Exception | None = None
        self._known: Scores | None = None  # of the weights as they are, once they were asked for

    @property
    def sparsity(self) -> float:
        return self._asked.sparsity

    @property
    def last(self) -> FinishedRound | None:
        return self._rounds.last

    def run(self) -> Ticket:
        """The ticket of the strategy's last round."""
        try:
            return self._run()
        except PluginError as error:
            if self._failure is None or error.__cause__ is not self._failure:
                raise
            failure = self._failure
        raise failure  # which is none of the strategy's

    def _run(self) -> Ticket:
        strategy = self._asked.parts.strategy
        if self._rounds.over and self.last is not None:
            return self.last.ticket
        shapes = {name: layer.own_shape for name, layer in self.layers.items()}
        with blamed(strategy):
            for found in strategy.rounds(self):
                if not isinstance(found, Round) or not isinstance(found.mask, Mask):
                    raise TypeError(f"a round must be a ticketkit.Round, found {found!r}")
                _check_cover(found.mask, shapes)
                aim = self.sparsity if found.sparsity is None else found.sparsity
                with self._ours():
                    self._rounds.finish(self._ticket_of(found.mask, aim))
            if self.last is None:
                raise ValueError("it yielded no round")
            self._check_reached(self.last.ticket.mask)
        self._rounds.end()
        return self.last.ticket

    def select(self, sparsity: float, within: Mask | None = None) -> Mask:
        check_sparsity(sparsity)
        _check_mask(within)
        self._check_shrinks(sparsity, within)
        with self._ours():
            budget = self._asked.budget(self.layers, sparsity)
            return led(lambda: self._selected(self._scores(), budget, within))

    def block_scores(self) -> Mapping[str, torch.Tensor]:
        tilings = tilings_of(self._asked.parts.scheme, self.layers)
        with self._ours():
            return led(lambda: block_scores(self._scores(), tilings))

    def fit(self, mask: Mask | None = None, *, steps: int = 0, once: bool = False) -> None:
        trainer = self._trainer()
        _check_mask(mask)
        if type(steps) is not int:
            raise TypeError(f"steps is a whole number, found {steps!r}")
        with self._ours():
            trainer.fit(0 if once else self._number, mask, steps=steps)
        self._known = None

    def learn(self, scores: Mapping[str, torch.Tensor]) -> Mask:
        from ticketkit.learned import learning

        trainer, scheme = self._trainer(), self._asked.parts.scheme
        budget = self._asked.budget(self.layers, self.sparsity)
        chosen = partial(self._selected, budget=budget, within=None)
        tilings = tilings_of(scheme, self.layers)
        with (
            learning(trainer.model, self.layers, tilings, scores, chosen) as network,
            self._ours(),
        ):
            trainer.fit(self._number, network=network)
            return network.mask()

    def state(self) -> State:
        return self._trainer().state()

    def rewind(self, state: State | None = None) -> None:
        self._trainer().rewind(state)
        self._known = None

    @contextlib.contextmanager
    def _ours(self) -> Iterator[None]:
        """What goes wrong inside is not the strategy's to answer for."""
        try:
            yield
        except Exception as error:
            self._failure = error
            raise

    def generator(self, name: str) -> torch.Generator:
        return Context(name, self._asked.seed).generator

    @property
    def _number(self) -> int:
        """Of the round that is being worked on."""
        return self.last.number + 1 if self.last else 1

    def _scores(self) -> Scores:
        if self._known is None:
            self._known = self._scored()
        return self._known

    def _trainer(self) -> Retraining:
        if self._training is None:
            raise TypeError("it does not say that it trains: trains = True")
        return self._training

    def _check_reached(self, mask: Mask) -> None:
        """Refuse a last round that keeps more than the sparsity asked for does."""
        most = self._asked.budget(self.layers, self.sparsity).total
        if mask.kept > most:
            raise ValueError(
                f"its last round keeps {mask.kept:,} weights, where sparsity {self.sparsity:g} "
                f"keeps {most:,}"
            )

    def _check_shrinks(self, sparsity: float, within: Mask | None) -> None:
        """Refuse to keep more than an earlier round did."""
        before = self.last.ticket.provenance.sparsity if self.last else 0.0
        if within is not None and sparsity < before:
            raise UsageError(
                f"masks only shrink: strategy {spec_of(self._asked.parts.strategy)} asks for "
                f"sparsity {sparsity:g} in round {self._number}, after {before:g} in the one before"
            )

    def _selected(
        self, scores: Mapping[str, torch.Tensor], budget: Budget, within: Mask | None
    ) -> Mask:
        """The scheme's selection, checked, in the parameters' own shapes."""
        scheme = self._asked.parts.scheme
        if within is not None:
            within = Mask({n: _presented(x, within) for n, x in self.layers.items()})
        with blamed(scheme):
            mask = scheme.select(scores, budget, within)
            if not isinstance(mask, Mask):
                raise TypeError(f"select must return a ticketkit.Mask, found {mask!r}")
            _check_cover(mask, {name: layer.shape for name, layer in self.layers.items()})
            _check_budget(mask, budget)
            _check_within(mask, within)
        return Mask({name: _own(self.layers[name], mask) for name in mask})


def _check_mask(mask: object) -> None:
    if mask is not None and not isinstance(mask, Mask):
        raise TypeError(f"a mask is a ticketkit.Mask, found {mask!r}")


def _check_cover(mask: Mask, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if mask.shapes != dict(sorted(shapes.items())):
        odd = sorted({name for name, _ in mask.shapes.items() ^ shapes.items()})
        raise ValueError(f"the mask must cover every layer in its shape; differs in {some(odd)}")


def _check_budget(mask: Mask, budget: Budget) -> None:
    kept = {name: mask.packed(name).kept for name in mask}
    if sum(kept.values()) > budget.total:
        raise ValueError(f"it kept {mask.kept:,} weights, its budget is {budget.total:,}")
    for name, share in (budget.shares or {}).items():
        if kept[name] > share:
            raise ValueError(f"it kept {kept[name]:,} of {printable(name)}, its share is {share:,}")
    if not budget.allow_empty_layers and not all(kept.values()):
        empty = some(name for name, count in kept.items() if not count)
        raise ValueError(f"it kept nothing of {empty}, which was not allowed")


def _check_within(mask: Mask, within: Mask | None) -> None:
    if within is not None and sum(mask.kept_by_both(within).values()) < mask.kept:
        raise ValueError("it kept weights that an earlier round removed")


def _own(layer: Layer, mask: Mask) -> PackedBits | BlockBits:
    """One layer's bits, from its presented shape to its own."""
    packed = mask.packed(layer.name)
    if isinstance(packed, BlockBits):
        return BlockBits(layer, packed.block, packed.blocks)
    if layer.transposed is None:
        return packed
    own = layer.restore(packed.unpack())
    return PackedBits(own.shape, pack(own))


def _presented(layer: Layer, mask: Mask) -> PackedBits | BlockBits:
    """One layer's bits, from its own shape to the presented one."""
    packed = mask.packed(layer.name)
    if layer.transposed is None:
        return packed
    if isinstance(packed, BlockBits):
        return BlockBits(Layer(layer.name, layer.shape), packed.block, packed.blocks)
    return PackedBits(layer.shape, pack(layer.present(packed.unpack())))
