"""Allocation `global`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import ticketkit


class Global(ticketkit.Allocation):
    """One ranking over all layers."""

    name = "global"

    def budgets(self, layers: Mapping[str, ticketkit.Layer], keep: Callable[[int], int]) -> None:
        return None


@ticketkit.hookimpl
def ticketkit_allocations() -> Iterator[type[ticketkit.Allocation]]:
    yield Global
