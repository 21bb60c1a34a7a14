"""Scheme `stripe`: a whole plugin, and a template for yours."""

from dataclasses import dataclass

import ticketkit


@dataclass(frozen=True)
class Stripe(ticketkit.BlockScheme):
    """Runs of `width` neighbouring output channels live or die together."""

    name = "stripe"
    width: int = 2

    def block(self, shape):
        return (self.width, *shape[1:])


@ticketkit.hookimpl
def ticketkit_schemes():
    yield Stripe
