"""Strategy `omp`."""

from __future__ import annotations

from collections.abc import Iterator

import ticketkit


class Omp(ticketkit.Strategy):
    """One-shot pruning: the pretrained weights are ranked once.

    Fu et al., DAC 2023, section II-B.
    """

    name = "omp"

    def rounds(self, job: ticketkit.Job) -> Iterator[ticketkit.Round]:
        yield ticketkit.Round(job.select(job.sparsity))


@ticketkit.hookimpl
def ticketkit_strategies() -> Iterator[type[ticketkit.Strategy]]:
    yield Omp
