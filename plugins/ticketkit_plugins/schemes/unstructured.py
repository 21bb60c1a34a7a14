"""Scheme `unstructured`."""

from __future__ import annotations

from collections.abc import Iterator

import ticketkit


class Unstructured(ticketkit.BlockScheme):
    """Single weights.

    `fine-grained` in Mao et al. 2017, arXiv 1705.08922.
    """

    name = "unstructured"

    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1,) * len(shape)


@ticketkit.hookimpl
def ticketkit_schemes() -> Iterator[type[ticketkit.Scheme]]:
    yield Unstructured
