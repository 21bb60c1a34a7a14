"""Selection: the best blocks within a budget, exactly, the same way whatever order they come in.

The ranking is total: the higher mean score first; among equals the earlier layer by name, then the
earlier position. It is never sorted as a whole. A sample brackets the score at which the budget
ends; one streamed pass marks what lies above the bracket and collects the little that lies inside;
only that is sorted. A bracket that misses is widened and the pass repeated, so the result is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ticketkit.bits import Bits, count, pack
from ticketkit.budgets import Budget
from ticketkit.errors import PluginError, UnreachableSparsity, highest_sparsity, printable
from ticketkit.mask import Mask
from ticketkit.radix import kth_highest
from ticketkit.rescaled import Rescaled
from ticketkit.sampling import Sample
from ticketkit.scoring import reader_of, shape_of
from ticketkit.sweep import Found, sweep, weight_of
from ticketkit.tiled import Tiled
from ticketkit.tiling import Tiling

# Bytes of bits per step where equal scores are taken in order.
_STEP = 2**17

Block = Callable[[tuple[int, ...]], tuple[int, ...]]


def select_tiles(
    block: Block,
    scores: Mapping[str, torch.Tensor],
    budget: Budget,
    within: Mask | None = None,
) -> Mask:
    """Keep the best blocks: the longest prefix of the ranking that fits the budget.

    Blocks are ranked by their mean score, or by what `budget.rescale` makes of it. `block(shape)`
    is the size of a block in a layer of that presented shape. Each layer's best block stands at the
    front of the ranking unless the budget allows empty layers. Positions outside `within` are in no
    block. All shapes are presented ones.
    """
    layers = {name: _tiled(name, block, scores, budget, within) for name in sorted(scores)}
    unreachable: list[UnreachableSparsity] = []
    for names, keep in budget.groups(list(layers)):
        if not keep and budget.total and budget.allow_empty_layers:
            continue  # a share of nothing; a whole budget of nothing is out of reach
        try:
            _rank([layers[name] for name in names], scores, keep, budget)
        except UnreachableSparsity as error:
            unreachable.append(error)
    if unreachable:  # of layers with shares of their own, the one that reaches least decides
        raise min(unreachable, key=lambda error: error.highest)
    mask = Mask({name: layer.packed() for name, layer in layers.items()})
    ranked = [layer for layer in layers.values() if layer.weights]
    if ranked and not mask.kept:
        raise _unreachable(ranked, 0, scores, budget)
    return mask


def _tiled(
    name: str,
    block: Block,
    scores: Mapping[str, torch.Tensor],
    budget: Budget,
    within: Mask | None,
) -> Tiled:
    shape = shape_of(scores, name)
    tiling = Tiling.of(name, shape, block(shape))
    left = within.packed(name) if within else None
    if budget.rescale is None:
        return Tiled(name, tiling, left)
    return Rescaled(name, tiling, left, budget.rescale)


def _rank(
    layers: Sequence[Tiled],
    scores: Mapping[str, torch.Tensor],
    keep: int,
    budget: Budget,
) -> None:
    """Mark the best blocks of these layers, `keep` weights of them at most."""
    layers = [layer for layer in layers if layer.weights]
    if not layers:
        return
    sample = Sample.draw(layers, scores)
    bracket = sample.bracket(keep)
    while True:
        found = sweep(layers, scores, bracket, sample.dtype)
        above = sum(layer.above for layer in found)
        fronts = 0 if budget.allow_empty_layers else _keep_fronts(found, scores)
        room = keep - above - fronts
        if (room < 0 and not above) or not keep:
            raise _unreachable(layers, fronts, scores, budget)
        if bracket.floor > bracket.ceiling:
            raise PluginError(
                "the scores changed between two readings: a criterion that draws lots"
            )
        if room < 0:
            bracket = sample.bracket(keep, bracket.raised(sample.dtype))
        elif _fill(found, room) or bracket.low <= sample.everything.low:
            return
        else:
            bracket = sample.bracket(keep, bracket.lowered(sample.dtype))


def _keep_fronts(found: Sequence[Found], scores: Mapping[str, torch.Tensor]) -> int:
    """Keep the best block of each layer that has none yet; the weights that this takes."""
    return sum(_keep_front(layer, scores) for layer in found if not layer.above)


def _keep_front(found: Found, scores: Mapping[str, torch.Tensor]) -> int:
    if len(found.scores):
        at = int(np.argmax(found.scores))
        block, size = int(found.blocks[at]), int(found.each_size()[at])
        found.drop(at)
    else:
        block, _, size = found.layer.best(reader_of(scores, found.layer.name))
        if found.ties is not None:
            found.ties[block >> 3] &= ~np.uint8(1 << (block & 7))
    found.layer.mark(np.array([block]))
    return size


def _fill(found: Sequence[Found], room: int) -> bool:
    """Keep the best candidates that fit the room; whether the budget ends among them."""
    if found[0].ties is not None:
        return _fill_ties(found, room)
    one = {layer.sizes if isinstance(layer.sizes, int) else 0 for layer in found}
    size = one.pop() if len(one) == 1 else 0
    return _fill_alike(found, room // size) if size else _fill_sorted(found, room)


def _fill_alike(found: Sequence[Found], room: int) -> bool:
    """Keep the best `room` candidates, which all have one size; whether it ends among them."""
    columns = [layer.scores for layer in found]
    candidates = sum(map(len, columns))
    if room == 0 or not candidates:
        return room == 0
    last = kth_highest(columns, min(room, candidates))
    for layer in found:
        above = layer.scores > last
        layer.layer.mark(layer.blocks[above])
        room -= int(np.count_nonzero(above))
    for layer in found:
        ties = layer.blocks[layer.scores == last][:room]
        layer.layer.mark(ties)
        room -= len(ties)
    return room == 0


def _fill_sorted(found: Sequence[Found], room: int) -> bool:
    """Keep the longest prefix of the candidates, of several sizes; whether it ends among them."""
    scores = np.concatenate([layer.scores for layer in found])
    sizes = np.concatenate([layer.each_size() for layer in found])
    order = np.argsort(-scores, kind="stable")
    chosen = np.zeros(len(scores), np.bool_)
    chosen[order[: np.searchsorted(np.cumsum(sizes[order]), room, side="right")]] = True
    ends = np.cumsum([len(layer.scores) for layer in found])[:-1]
    for layer, kept in zip(found, np.split(chosen, ends), strict=True):
        layer.layer.mark(layer.blocks[kept])
        room -= weight_of(kept, layer.sizes)
    return room == 0 or not chosen.all()


def _fill_ties(found: Sequence[Found], room: int) -> bool:
    for layer in found:
        assert layer.ties is not None
        size = layer.layer.tiling.size
        tied = count(layer.ties)
        taken = min(tied, room // size)
        if taken < tied:
            _keep_first(layer.ties, taken)
        layer.layer.marks |= layer.ties
        room -= taken * size
        if taken < tied:
            return True
    return room == 0


def _keep_first(bits: Bits, left: int) -> None:
    """Clear all set bits but the first few that are `left` to keep."""
    for start in range(0, len(bits), _STEP):
        piece = bits[start : start + _STEP]
        here = count(piece)
        if here > left:
            flat = np.unpackbits(piece, bitorder="little")
            flat[np.flatnonzero(flat)[left:]] = 0
            piece[:] = pack(flat.view(np.bool_))
        left -= min(here, left)


def _unreachable(
    layers: Sequence[Tiled], fronts: int, scores: Mapping[str, torch.Tensor], budget: Budget
) -> UnreachableSparsity:
    """The error: the best block of each layer, or the first of all, is more than the budget."""
    total = sum(layer.weights for layer in layers)
    where = printable(layers[0].name) if len(layers) == 1 else f"each of {len(layers)} layers"
    least, hint = fronts, ""
    if fronts and budget.total:
        hint = " (--allow-empty-layers, in Python allow_empty_layers=True, lifts this)"
    if not fronts:
        bests = [layer.best(reader_of(scores, layer.name)) for layer in layers]
        least = max(bests, key=lambda best: best[1])[2]
        where = f"all of {where.removeprefix('each of ')}"
    highest = highest_sparsity(least, total)
    return UnreachableSparsity(
        f"the sparsity cannot be reached: the best block of {where} takes {least:,} of "
        f"{total:,} weights; the highest sparsity reachable is {highest}{hint}",
        highest,
    )
