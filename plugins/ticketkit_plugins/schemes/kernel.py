"""Scheme `kernel`."""

from __future__ import annotations

from collections.abc import Iterator

import ticketkit


class Kernel(ticketkit.BlockScheme):
    """Whole kernels, one for each pair of output and input channel.

    Mao et al. 2017, arXiv 1705.08922. In a 1x1 convolution or a linear layer a kernel is one
    weight.
    """

    name = "kernel"

    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1, 1, *shape[2:])[: len(shape)]


@ticketkit.hookimpl
def ticketkit_schemes() -> Iterator[type[ticketkit.Scheme]]:
    yield Kernel
