"""Strategy `imp`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import ticketkit


@dataclass(frozen=True)
class Imp(ticketkit.Strategy):
    """Iterative magnitude pruning: cut, rewind, train, cut again, until the sparsity is reached.

    Each round cuts the share `rate` of the weights that are left, the lowest of the trained ones,
    and the last one cuts to the exact count. Before each training, which is the whole schedule, the
    weights return to their pretrained values, or, with `rewind`, to those after so many steps of
    training the dense network. The first cut is made before any training, unless `train_first`.
    With a robustifier this is A-IMP, Eq. 1 of Fu et al., DAC 2023; the ticket is always the mask
    over the pretrained weights. Frankle and Carbin 2019; late rewinding: arXiv 1912.05671.
    """

    name = "imp"
    trains = True
    rate: float = 0.2
    rewind: int = 0
    train_first: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ticketkit.UsageError(f"imp: rate is a share between 0 and 1, found {self.rate!r}")
        ticketkit.check_whole(self, "rewind", 0)

    def check(self, parts: ticketkit.Parts) -> None:
        if parts.scheme.fixed_sparsity is not None:
            raise ticketkit.UsageError(
                f"scheme {parts.scheme.name} has one sparsity, and imp goes from one to the next: "
                "choose strategy omp or lmp"
            )

    def rounds(self, job: ticketkit.Job) -> Iterator[ticketkit.Round]:
        done = job.last.number if job.last else 0
        mask = job.last.ticket.mask if job.last else None
        sparsities = list(self._sparsities(job))
        early = None
        untrained = done or int(not self.train_first)
        if self.rewind and len(sparsities) > untrained:
            job.fit(steps=self.rewind, once=True)
            early = job.state()
            job.rewind()
        for number, sparsity in itertools.islice(enumerate(sparsities), done, None):
            if number or self.train_first:
                job.rewind(early)
                job.fit(mask)
            mask = job.select(sparsity, mask)
            yield ticketkit.Round(mask, sparsity)

    def _sparsities(self, job: ticketkit.Job) -> Iterator[float]:
        """The sparsity of each round: round(rate * left) weights more than in the one before."""
        size = sum(layer.size for layer in job.layers.values())
        removed, last = 0, round(job.sparsity * size)
        while (removed := removed + max(1, round(self.rate * (size - removed)))) < last:
            yield removed / size
        yield job.sparsity


@ticketkit.hookimpl
def ticketkit_strategies() -> Iterator[type[ticketkit.Strategy]]:
    yield Imp
