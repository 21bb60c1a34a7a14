"""Which parameters are pruned, which are spared, and why.

Prunable are the weights of convolutions and linear layers, of any dimension, packed attention
projections among them. Spared are biases, normalisation, embeddings, recurrent weights, and the
task head, which is replaced downstream.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ticketkit.errors import InputError, UsageError, WeightsError, near, printable, some
from ticketkit.layer import Layer

HEAD = "the task head, which is replaced downstream"
_HEAD_NAMES = {"fc", "_fc", "classifier", "head", "heads", "lm_head", "output"}
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Tensor:
    """What a survey knows of one tensor: its shape, how much it is, and why it may be spared."""

    name: str
    shape: tuple[int, ...]
    reason: str | None
    """Why it is spared by default; None for a prunable weight."""
    transposed: int | None = None
    aliases: tuple[str, ...] = ()
    """Other names of the same tensor."""
    undo: str | None = None
    """The call of torch after which it is no longer a tensor that a weight is computed from."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Counts:
    """The three denominators of a sparsity, in numbers of elements; tied tensors count once."""

    prunable: int
    weights: int
    """Every tensor of two or more dimensions, the head included."""
    parameters: int


@dataclass(frozen=True)
class Survey:
    """What a draw may cut, and what it spares."""

    layers: dict[str, Layer]
    spared: dict[str, str]
    """Name to reason, for every tensor of two or more dimensions that is not pruned."""
    counts: Counts
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)


def survey(
    tensors: Iterable[Tensor],
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    spares: Callable[[tuple[int, ...]], str | None] = lambda shape: None,
) -> Survey:
    """Decide what is pruned: the prunable weights and what `include` names, less `exclude`.

    Both are `fnmatch` globs over parameter names. `spares` says why a layer of a presented shape
    cannot be cut all the same. Raises an `InputError` for tensors that a weight is computed from,
    unless they are excluded, and one that lists what was spared where nothing is left.
    """
    found = {tensor.name: tensor for tensor in sorted(tensors, key=lambda t: t.name)}
    included, excluded = _matching(include, found), _matching(exclude, found)
    _check_plain(tensor for tensor in found.values() if tensor.name not in excluded)
    head = find_head([n for t in found.values() if t.reason is None for n in (t.name, *t.aliases)])
    layers: dict[str, Layer] = {}
    spared: dict[str, str] = {}
    for tensor in found.values():
        reason = _reason(tensor, head, included, excluded)
        wanted = reason is None and tensor.size > 0
        if wanted:
            layer = Layer.of(tensor.name, tensor.shape, tensor.transposed)
            reason = spares(layer.shape)
        if wanted and reason is None:
            layers[tensor.name] = layer
        elif wanted or len(tensor.shape) >= 2:
            spared[tensor.name] = reason or "it has no elements"
    if not layers:
        told = [f"{name} ({reason})" for name, reason in spared.items()]
        rest = len(found) - len(spared)
        raise InputError(
            f"nothing to prune: spared {some(told) or 'nothing of two or more dimensions'}; "
            f"{rest} tensors have fewer than two dimensions (biases, normalisation)"
        )
    counts = Counts(
        sum(layer.size for layer in layers.values()),
        sum(tensor.size for tensor in found.values() if len(tensor.shape) >= 2),
        sum(tensor.size for tensor in found.values()),
    )
    aliases = {name: found[name].aliases for name in layers if found[name].aliases}
    return Survey(layers, spared, counts, aliases)


def by_name(name: str, shape: tuple[int, ...], aliases: tuple[str, ...] = ()) -> Tensor:
    """A tensor of a file, where only names and shapes can tell what it is."""
    last = name.rpartition(".")[2]
    reason = None
    if len(shape) < 2:
        reason = "fewer than two dimensions"
    elif last != "weight" and not last.endswith("_weight"):
        reason = "not named weight"
    elif len(shape) == 2 and _is_embedding(name):
        reason = "an embedding, by its name"
    return Tensor(name, shape, reason, None, aliases)


def cannot_rank(name: str, dtype: str) -> WeightsError:
    """The error for a prunable weight that holds no floating numbers."""
    return WeightsError(
        f"{printable(name)}: {dtype} weights cannot be ranked; expected floating numbers "
        "(--exclude spares it)"
    )


def is_buffer(name: str) -> bool:
    """Whether a tensor of a file holds normalisation statistics, which are not parameters."""
    return name.rpartition(".")[2] in _BUFFERS


def find_head(names: Iterable[str]) -> str | None:
    """The weight of the task head among prunable weights, by its name; None where none has one.

    Its module is called fc, classifier, head and the like, or is the last index under
    `classifier.` or `heads.`; of several the last by natural name order.
    """
    listed = sorted(names, key=natural)
    last_under: dict[str, int] = {}
    for name in listed:
        if match := _INDEXED.fullmatch(name):
            last_under[match[1]] = max(last_under.get(match[1], 0), int(match[2]))
    heads = [name for name in listed if _is_head(name, last_under)]
    return heads[-1] if heads else None


_INDEXED = re.compile(r"((?:.*\.)?(?:classifier|heads))\.(\d+)\.[^.]+")


def _is_head(name: str, last_under: Mapping[str, int]) -> bool:
    if match := _INDEXED.fullmatch(name):
        return int(match[2]) == last_under[match[1]]
    *path, _ = name.split(".")
    return bool(path) and path[-1] in _HEAD_NAMES


def natural(name: str) -> list[tuple[int, int, str]]:
    """Numbers in names in numerical order."""
    pieces = re.split(r"(\d+)", name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces if p]


def _is_embedding(name: str) -> bool:
    if "relative_position" in name:
        return True
    words = re.split(r"[._]", name.lower())
    return any("embed" in w or w in ("wte", "wpe", "pos") or w.startswith("posit") for w in words)


def _matching(globs: Iterable[str], names: Mapping[str, Tensor]) -> set[str]:
    matched: set[str] = set()
    for glob in [globs] if isinstance(globs, str) else globs:
        known = {alias: name for name, t in names.items() for alias in (name, *t.aliases)}
        found = {known[n] for n in known if fnmatch.fnmatchcase(n, glob)}
        if not found:
            raise UsageError(f"no parameter matches {printable(glob)!r}{near(glob, names)}")
        matched |= found
    return matched


def _reason(tensor: Tensor, head: str | None, included: set[str], excluded: set[str]) -> str | None:
    if tensor.name in excluded:
        return "excluded"
    if tensor.name in included and tensor.shape:
        return None
    return HEAD if head in (tensor.name, *tensor.aliases) else tensor.reason


def _check_plain(tensors: Iterable[Tensor]) -> None:
    """Refuse what a weight is computed from: zeros in it would be none in the weight."""
    calls: dict[str, list[str]] = {}
    for tensor in tensors:
        if tensor.undo:
            calls.setdefault(tensor.undo, []).append(tensor.name)
    told = [f"{some(names, 3)} (undo that by {call})" for call, names in calls.items()]
    if told:
        raise InputError(f"weights are computed from {'; '.join(told)}; --exclude spares them")
