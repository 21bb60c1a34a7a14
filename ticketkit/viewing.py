"""A network as its checkpoint's file names it: where each of the file's weights is in the network.

A segmenter has those of its backbone's classifier under other names, and weights beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from ticketkit.checkpoint import Checkpoint
from ticketkit.errors import UsageError, some
from ticketkit.heads import has_head, heads_of
from ticketkit.mask import Mask
from ticketkit.prunable import Counts, Survey, Tensor, survey
from ticketkit.roles import of_network
from ticketkit.ticket import Ticket
from ticketkit.transplanting import placed


@dataclass(frozen=True)
class View:
    """A network's parameters by the names of a file."""

    tensors: tuple[Tensor, ...]
    """What the network tells of those that the file has, under its names."""
    places: Mapping[str, str]
    """Where each name of the file is in the network."""
    heads: tuple[str, ...]
    """How the network's names of its heads begin."""
    counted: Counts
    """The denominators of the file; its prunable weights are still to be counted."""

    @classmethod
    def of(cls, model: nn.Module, checkpoint: Checkpoint) -> View:
        """The view of a network by the names of the checkpoint that was loaded into it."""
        own = of_network(model)
        held = checkpoint.tensors()
        names = [name for tensor in held for name in (tensor.name, *tensor.aliases)]
        everywhere = [name for tensor in own for name in (tensor.name, *tensor.aliases)]
        places = {n: p for n, p in placed(names, everywhere).items() if p in set(everywhere)}
        inverse = {place: name for name, place in places.items()}
        tensors = []
        for tensor in own:
            found = [inverse[n] for n in (tensor.name, *tensor.aliases) if n in inverse]
            if found:
                tensors.append(replace(tensor, name=found[0], aliases=tuple(found[1:])))
        weights = sum(tensor.size for tensor in held if len(tensor.shape) >= 2)
        counted = Counts(0, weights, sum(tensor.size for tensor in held))
        heads = tuple(f"{head}." for head in heads_of(model)) if has_head(model) else ()
        return cls(tuple(tensors), places, heads, counted)

    def survey(
        self,
        include: tuple[str, ...],
        exclude: tuple[str, ...],
        spares: Callable[[tuple[int, ...]], str | None],
    ) -> Survey:
        """What is pruned of the network, by the names of the file; globs are over these too."""
        found = survey(self.tensors, include, exclude, spares)
        return replace(found, counts=replace(self.counted, prunable=found.counts.prunable))

    def check_heads(self, found: Survey) -> None:
        """Raise a `UsageError` where a layer is of a head that is new."""
        if wrong := [name for name in found.layers if self.places[name].startswith(self.heads)]:
            raise UsageError(
                f"{some(wrong)}: the head is a new one on this task, and no part of a ticket: "
                "leave it out of --include"
            )

    def on_network(self, found: Survey) -> Survey:
        """The same survey by the names of the network."""
        layers = {self.places[n]: replace(x, name=self.places[n]) for n, x in found.layers.items()}
        aliases = {
            self.places[name]: tuple(self.places[other] for other in others)
            for name, others in found.aliases.items()
        }
        return Survey(layers, found.spared, found.counts, aliases)

    def named(self, ticket: Ticket) -> Ticket:
        """A ticket of the network by the names of the file."""
        names = {place: name for name, place in self.places.items()}
        bits = {names[place]: ticket.mask.packed(place) for place in ticket.mask}
        aliases = {
            names[place]: tuple(names[other] for other in others)
            for place, others in ticket.aliases.items()
        }
        return replace(ticket, mask=Mask(bits), aliases=aliases)
