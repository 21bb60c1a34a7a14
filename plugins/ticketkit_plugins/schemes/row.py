"""Scheme `row`."""

from __future__ import annotations

from collections.abc import Iterator

import ticketkit


class Row(ticketkit.BlockScheme):
    """Rows of one two-dimensional kernel, kw weights each.

    `vector` in Mao et al. 2017, arXiv 1705.08922. In a 1x1 convolution or a linear layer a row is
    one weight.
    """

    name = "row"

    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*(1,) * (len(shape) - 1), shape[-1] if len(shape) > 2 else 1)


@ticketkit.hookimpl
def ticketkit_schemes() -> Iterator[type[ticketkit.Scheme]]:
    yield Row
