"""The budget of a draw: what a sparsity keeps, shared between layers as the allocation says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ticketkit.blame import blamed
from ticketkit.choices import Parts, fixed_sparsity
from ticketkit.errors import UsageError, printable, some
from ticketkit.layer import Layer
from ticketkit.options import spec_of
from ticketkit.parts import Allocation, brings
from ticketkit.rescaled import Rescale
from ticketkit.scoring import checked

Keep = Callable[[int], int]


@dataclass(frozen=True)
class Budget:
    """How many weights to keep: in all, and of each layer where an allocation gives shares."""

    total: int
    shares: Mapping[str, int] | None = None
    allow_empty_layers: bool = False
    rescale: Rescale | None = None
    """What an allocation makes of a layer's block scores before they are ranked among others'."""

    def groups(self, names: Sequence[str]) -> list[tuple[list[str], int]]:
        """The rankings to make: one over all layers, or one for each."""
        if self.shares is None:
            return [(list(names), self.total)]
        return [([name], self.shares[name]) for name in names]


def budget_of(
    parts: Parts, layers: Mapping[str, Layer], sparsity: float, allow_empty_layers: bool
) -> Budget:
    """What a sparsity keeps: n - round(sparsity * n) weights, shared as the allocation says."""

    def keep(size: int) -> int:
        return size - round(sparsity * size)

    shares = _shares(parts.allocation, layers, keep)
    total = sum(layer.size for layer in layers.values())
    budget = Budget(
        keep(total) if shares is None else sum(shares.values()),
        shares,
        allow_empty_layers,
        _rescaling(parts.allocation),
    )
    if budget.rescale and not parts.scheme.rescales:
        raise UsageError(
            f"scheme {spec_of(parts.scheme)} ranks scores as they are: allocation "
            f"{spec_of(parts.allocation)}, which rescales them, has no effect on it"
        )
    if (fixed := fixed_sparsity(parts.scheme)) is not None:
        _check_fixed(parts, layers, budget, sparsity, fixed)
    return budget


def _shares(
    allocation: Allocation, layers: Mapping[str, Layer], keep: Keep
) -> Mapping[str, int] | None:
    with blamed(allocation):
        shares = allocation.budgets(dict(layers), keep)
        if shares is None:
            return None
        if set(shares) != set(layers):
            odd = sorted(set(shares) ^ set(layers))
            raise ValueError(f"budgets must name every layer and no other; differs in {some(odd)}")
        for name, share in shares.items():
            size = layers[name].size
            if type(share) is not int or not 0 <= share <= size:
                raise ValueError(
                    f"the budget of {printable(name)} must be a whole number from 0 to {size}, "
                    f"found {share!r}"
                )
        return shares


def _rescaling(allocation: Allocation) -> Rescale | None:
    """What the allocation makes of a layer's scores, checked; None where it leaves them."""
    if not brings(allocation, "rescale"):
        return None

    def rescale(scores: torch.Tensor) -> torch.Tensor:
        with blamed(allocation):
            return checked(allocation.rescale(scores.clone()), scores.shape, "rescale").double()

    return rescale


def _check_fixed(
    parts: Parts, layers: Mapping[str, Layer], budget: Budget, sparsity: float, fixed: float
) -> None:
    """Refuse a budget that is not the one which a scheme of a fixed sparsity meets."""
    told = f"scheme {spec_of(parts.scheme)} removes {fixed:.6g} of each layer"
    if sparsity != fixed:
        raise UsageError(f"{told}; strategy {spec_of(parts.strategy)} asks for {sparsity:.6g}")
    own = {name: layer.size - round(fixed * layer.size) for name, layer in layers.items()}
    shared = own if budget.shares is None else dict(budget.shares)
    if budget.total != sum(own.values()) or shared != own:
        raise UsageError(
            f"{told}; allocation {spec_of(parts.allocation)} shares otherwise: choose one that "
            "gives all layers the same sparsity, such as global or uniform"
        )
