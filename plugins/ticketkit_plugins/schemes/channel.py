"""Scheme `channel`."""

from __future__ import annotations

from collections.abc import Iterator

import ticketkit


class Channel(ticketkit.BlockScheme):
    """Output channels: whole filters of a convolution, output neurons of a linear layer.

    `filter` in Mao et al. 2017, arXiv 1705.08922.
    """

    name = "channel"

    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1, *shape[1:])


@ticketkit.hookimpl
def ticketkit_schemes() -> Iterator[type[ticketkit.Scheme]]:
    yield Channel
