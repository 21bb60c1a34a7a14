"""Which sparsities no draw can reach, whatever the weights: each layer keeps a block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ticketkit.errors import UnreachableSparsity, highest_sparsity, printable
from ticketkit.tiling import Tiling

if TYPE_CHECKING:
    from ticketkit.budgets import Budget


def check_reachable(tilings: Mapping[str, Tiling], budget: Budget) -> None:
    """Raise an `UnreachableSparsity` where the smallest blocks exceed the budget."""
    rooms = budget.groups(list(tilings))
    if budget.allow_empty_layers:
        rooms = [(list(tilings), budget.total)]
    errors = []
    for names, room in rooms:
        blocks = sum(_smallest(tilings[name]) for name in names)
        least = 1 if budget.allow_empty_layers else blocks
        if room < least:
            total = sum(tilings[name].elements for name in names)
            lifted = bool(budget.total) and not budget.allow_empty_layers
            errors.append(_unreachable(names, least, total, lifted))
    if errors:
        raise min(errors, key=lambda error: error.highest)


def _unreachable(names: list[str], least: int, total: int, lifted: bool) -> UnreachableSparsity:
    where = printable(names[0]) if len(names) == 1 else f"{len(names)} layers"
    highest = highest_sparsity(least, total)
    hint = " (--allow-empty-layers lifts this)" if lifted else ""
    return UnreachableSparsity(
        f"the sparsity cannot be reached: the smallest blocks of {where} take {least:,} of "
        f"{total:,} weights; the highest sparsity reachable is {highest} or less{hint}",
        highest,
    )


def _smallest(tiling: Tiling) -> int:
    """Weights of the block in the last corner, the only one that touches every edge."""
    sides = zip(tiling.shape, tiling.block, tiling.grid, strict=True)
    return math.prod(length - (blocks - 1) * side for length, side, blocks in sides)
