"""What all kinds of part promise."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import warnings
from typing import Any, ClassVar

import torch

import ticketkit
from ticketkit.testing import cases


def promise(kept: bool, broken: str) -> None:
    """Fail with what was promised and what was found unless the promise is kept.

    A function, for `assert` is silent under `python -O` and terse outside test modules.
    """
    __tracebackhide__ = True
    if not kept:
        raise AssertionError(broken)


class PartLaws:
    """The laws of every part."""

    kind: ClassVar[str]
    part: ClassVar[Any]

    def test_it_has_a_name(self) -> None:
        """A part has a `name` in lower case, by which spec strings and provenance know it."""
        name = getattr(self.part, "name", None)
        promise(
            isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name) is not None,
            f"a part has a `name` of lower-case letters, digits, '_', '.' and '-': found {name!r}",
        )

    def test_it_says_what_it_does(self) -> None:
        """The class has a docstring: `ticketkit parts` prints it."""
        own = vars(type(self.part)).get("__doc__") or ""
        generated = own.startswith(f"{type(self.part).__name__}(")  # by dataclass
        promise(
            bool(inspect.cleandoc(own)) and not generated,
            f"{type(self.part).__name__} has no docstring: `ticketkit parts` prints its first line",
        )

    def test_its_options_are_fields_of_a_frozen_dataclass(self) -> None:
        """A part holds no state: what it knows are its options, and these do not change."""
        kind = type(self.part)
        options: tuple[Any, ...] = (
            dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
        )
        known = {field.name for field in options} | _cached(kind)
        odd = sorted(set(getattr(self.part, "__dict__", {})) - known)
        promise(
            not odd,
            f"a part holds no state beside its options: found {odd}; make options fields of a "
            "dataclass(frozen=True), and compute the rest when it is asked for",
        )
        parameters = getattr(kind, "__dataclass_params__", None)
        promise(
            not options or (parameters is not None and parameters.frozen),
            f"options do not change: {kind.__name__} must be a dataclass(frozen=True)",
        )

    def test_its_spec_makes_it_again(self) -> None:
        """The spec of a part, which recipes and results tell, is the part with all its options."""
        if ticketkit.catalogue().of(self.part) is None:
            return  # the spec of a class that no plugin offers holds only where it can be imported
        spec = ticketkit.spec_of(self.part)
        again = ticketkit.resolve(self.kind, spec)
        promise(
            type(again) is type(self.part) and ticketkit.spec_of(again) == spec,
            f"the spec {spec!r} gives another part: {ticketkit.spec_of(again)!r}",
        )


class DrawnLaws(PartLaws):
    """The laws of parts that a draw combines."""

    def test_its_spec_draws_the_ticket_again(self) -> None:
        """The spec in a ticket's provenance is the part with all of its options."""
        if ticketkit.catalogue().of(self.part) is None:
            return  # the spec of a class that no plugin offers holds only where it can be imported
        network = cases.mixed()
        ticket = self.draw(network)
        spec = getattr(ticket.provenance, self.kind)
        again = self.draw(network, ticket.provenance.sparsity, **{self.kind: spec})
        promise(again == ticket, f"the spec {spec!r} gives another ticket than the part itself")

    def draw(
        self, network: torch.nn.Module, sparsity: float = 0.5, **options: Any
    ) -> ticketkit.Ticket:
        """The ticket of this sparsity, or of the highest one that the part can reach."""
        chosen = {"scheme": "unstructured", self.kind: self.part, **options}
        if isinstance(self.part, ticketkit.Scheme) and self.part.fixed_sparsity is not None:
            sparsity = self.part.fixed_sparsity
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sparsity 0, and of empty layers
            try:
                return ticketkit.draw(network, sparsity=sparsity, **chosen)
            except ticketkit.UnreachableSparsity as error:
                highest = min(error.highest, sparsity)
                return ticketkit.draw(network, sparsity=highest, **chosen)


def _cached(kind: type) -> set[str]:
    every = {name for base in kind.__mro__ for name in vars(base)}
    return {
        name
        for name in every
        if isinstance(inspect.getattr_static(kind, name), functools.cached_property)
    }
