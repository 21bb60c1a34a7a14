"""What a draw from a file would do: the work behind `--dry-run`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ticketkit.blame import blamed
from ticketkit.checkpoint import open_checkpoint
from ticketkit.errors import UnreachableSparsity, highest_sparsity, printable
from ticketkit.outputs import there_already
from ticketkit.parts import BlockScheme, Scheme
from ticketkit.prunable import Survey, cannot_rank, natural, survey
from ticketkit.pruning import Request, check_request, described
from ticketkit.tensorfile import DTYPES, itemsize
from ticketkit.tiling import Tiling

if TYPE_CHECKING:
    from ticketkit.budgets import Budget


def plan(request: Request) -> dict[str, Any]:
    """What `prune` would do, from names and shapes alone; reads no weights and writes nothing."""
    chosen = check_request(request)
    from ticketkit.budgets import budget_of

    checkpoint = open_checkpoint(request.input, request.checkpoint_key)
    found = survey(checkpoint.tensors(), request.include, request.exclude, chosen.spares)
    for name in found.layers:
        if not checkpoint.is_floating(name):
            dtype = checkpoint.dtypes[name]
            raise cannot_rank(name, DTYPES.get(dtype, dtype))
    tilings = _tilings(chosen.scheme, found)
    sparsity = chosen.sparsity(request.sparsity)
    budget = budget_of(chosen, found.layers, sparsity, request.allow_empty_layers)
    _check_reachable(tilings, budget)
    widest = max((itemsize(checkpoint.dtypes[name]) for name in found.layers), default=0)
    values = budget.total * widest if request.with_values else 0
    return {
        "schema": "ticketkit.plan/1",
        "input": described(checkpoint),
        "prior": request.prior,
        "output": request.output and str(request.output),
        "ticket": str(request.ticket),
        "parts": chosen.specs(),
        "sparsity": {"requested": sparsity},
        "counts": {**vars(found.counts), "kept_at_most": budget.total},
        "layers": [
            {"name": n, "shape": list(x.shape), "weights": x.size, "blocks": tilings[n].count}
            for n, x in sorted(found.layers.items(), key=lambda item: natural(item[0]))
        ],
        "spared": [{"name": name, "reason": why} for name, why in found.spared.items()],
        "bytes": {
            "checkpoint": checkpoint.size if request.output else 0,
            "ticket": sum(-(-tiling.count // 8) + 200 for tiling in tilings.values()) + values,
            "peak_memory": values + checkpoint.size + found.counts.prunable // 8 + 2**25,
        },
        "notes": [] if request.force else there_already(request.outputs),
    }


def _tilings(scheme: Scheme, found: Survey) -> dict[str, Tiling]:
    """The blocks of each layer: single weights where the scheme is no tiling."""
    tilings = {}
    for name, layer in found.layers.items():
        block: object = (1,) * len(layer.shape)
        with blamed(scheme):
            if isinstance(scheme, BlockScheme):
                block = scheme.block(layer.shape)
            tilings[name] = Tiling.of(name, layer.shape, block)
    return tilings


def _check_reachable(tilings: dict[str, Tiling], budget: Budget) -> None:
    """Refuse what no draw can reach, whatever the weights: each layer keeps a block."""
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
