"""Allocation `uniform`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import ticketkit


class Uniform(ticketkit.Allocation):
    """The same sparsity in each layer, each ranked by itself."""

    name = "uniform"

    def budgets(
        self, layers: Mapping[str, ticketkit.Layer], keep: Callable[[int], int]
    ) -> Mapping[str, int]:
        return {name: keep(layer.size) for name, layer in layers.items()}


@ticketkit.hookimpl
def ticketkit_allocations() -> Iterator[type[ticketkit.Allocation]]:
    yield Uniform
