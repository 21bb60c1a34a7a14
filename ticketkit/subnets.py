"""The mask that popup scores stand for, as hidden-networks and Robust-Scratch-Ticket read them.

Ramanujan et al. 2020, "What's Hidden in a Randomly Weighted Neural Network?": of the n scores of a
layer the int((1 - k) n) smallest in absolute value are removed, k being the fraction that remains.
"""

from __future__ import annotations

import math
from decimal import Decimal

import torch

from ticketkit.errors import MismatchError, WeightsError, printable

Shape = tuple[int, ...]


def removed(size: int, sparsity: float) -> int:
    """How many of `size` scores are removed: the floor of a float product, as in those tools.

    Their option is k = 1 - sparsity, written in decimals: 1 - 0.93 in floats is not their 0.07.
    """
    k = float(1 - Decimal(repr(float(sparsity))))
    return int((1 - k) * size)


def cut(
    name: str, scores: torch.Tensor, shape: Shape, sparsity: float
) -> tuple[torch.Tensor, bool]:
    """The keep-tensor of a weight of `shape`, and whether the cut parts equal scores.

    Among equal scores the earlier positions are removed. A score stands for all weights below its
    position: scores have the shape of the weight's first axes, and may go on with ones. Raises an
    `InputError` where they do not fit, or cannot be ranked.
    """
    _check(name, scores, shape)
    ranked, order = torch.sort(scores.abs().flatten(), stable=True)
    first = removed(len(order), sparsity)
    keep = torch.ones(len(order), dtype=torch.bool)
    keep[order[:first]] = False
    tied = 0 < first < len(order) and bool(ranked[first - 1] == ranked[first])
    grains = tuple(scores.shape) + (1,) * (len(shape) - scores.dim())
    return keep.reshape(grains).expand(shape), tied


def schemes(scores: Shape, shape: Shape) -> set[str]:
    """The schemes that have as many blocks as there are scores; several where those are equal."""
    axes = {"unstructured": len(shape), "row": max(2, len(shape) - 1), "kernel": 2, "channel": 1}
    return {n for n, own in axes.items() if math.prod(shape[:own]) == math.prod(scores)}


def _check(name: str, scores: torch.Tensor, shape: Shape) -> None:
    shown, found = printable(name), tuple(scores.shape)
    if not scores.is_floating_point():
        raise WeightsError(f"{shown}: expected scores of floating numbers, found {scores.dtype}")
    firsts = (shape[:own] + (1,) * (len(found) - own) for own in range(1, len(found) + 1))
    if len(found) > len(shape) or found not in firsts:
        raise MismatchError(
            f"{shown}: expected scores of the shape of the first axes of its weight "
            f"{list(shape)}, found {list(found)}"
        )
    if count := int(torch.isnan(scores).sum()):
        raise WeightsError(f"{shown}: {count:,} of {scores.numel():,} scores are not a number")
