"""Drawing a ticket: the parts combined, on a live network or on a checkpoint."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
import torch

import ticketkit
from ticketkit.bits import BlockBits, PackedBits, pack
from ticketkit.blame import blamed
from ticketkit.checkpoint import Checkpoint
from ticketkit.choices import Parts, check_sparsity
from ticketkit.digests import in_background
from ticketkit.errors import UsageError, printable, some
from ticketkit.layer import Layer
from ticketkit.mask import Mask
from ticketkit.parts import Allocation, Criterion, Round, Scheme, Strategy
from ticketkit.prunable import Survey, survey
from ticketkit.registry import catalogue
from ticketkit.scoring import Scores
from ticketkit.selection import Budget
from ticketkit.sources import Source, source_of
from ticketkit.ticket import Provenance, Ticket


def draw(
    model: torch.nn.Module | Checkpoint,
    *,
    scheme: str | Scheme,
    sparsity: float,
    criterion: str | Criterion = "magnitude",
    allocation: str | Allocation = "global",
    strategy: str | Strategy = "omp",
    seed: int = 0,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    allow_empty_layers: bool = False,
    digest: bool = False,
) -> Ticket:
    """Draw a ticket from a network or an open checkpoint, which is left alone.

    `sparsity` is the fraction of the prunable weights to remove, in [0, 1). Parts are spec strings
    (`"stripe:width=4"`) or instances. `include` and `exclude` are `fnmatch` globs over parameter
    names. Unless `allow_empty_layers`, each layer keeps its best block. The source's digest is
    recorded for a checkpoint, and for a network where `digest` asks for it.

    Raises `UsageError` (an option without meaning, a sparsity out of reach), `InputError` (weights
    that cannot be ranked), `PluginError` (a part that fails), all of them `TicketkitError`.
    """
    check_sparsity(sparsity)
    seed = _whole("seed", seed)
    chosen = Parts.resolve(scheme, criterion, allocation, strategy)
    source = source_of(model)
    include, exclude = _globs(include), _globs(exclude)
    found = survey(source.tensors(), include, exclude)
    recorded = source.digest if digest or isinstance(model, Checkpoint) else None
    with in_background(recorded) as hashed:
        mask = _Job(source, found, chosen, float(sparsity), seed, bool(allow_empty_layers)).run()
        sha256 = hashed()
    if not sparsity:
        warnings.warn("sparsity 0: the ticket keeps every weight", stacklevel=2)
    if allow_empty_layers:
        _warn_of_empty_layers(mask)
    provenance = Provenance(
        **chosen.specs(),
        sparsity=float(sparsity),
        seed=seed,
        include=include,
        exclude=exclude,
        allow_empty_layers=bool(allow_empty_layers),
        source=sha256,
        versions=_versions(chosen),
    )
    return Ticket(mask, provenance, found.counts, found.aliases)


def _versions(chosen: Parts) -> dict[str, str]:
    """The version of each distribution that takes part in a draw."""
    found = {"ticketkit": ticketkit.__version__, "torch": str(torch.__version__)}
    found["numpy"] = np.__version__
    for part in vars(chosen).values():
        if offer := catalogue().of(part):
            found[offer.plugin.distribution] = offer.plugin.version
    return found


class _Job:
    """What a strategy works on; it sees `sparsity` and `select`."""

    def __init__(
        self,
        source: Source,
        found: Survey,
        chosen: Parts,
        sparsity: float,
        seed: int,
        allow_empty_layers: bool,
    ) -> None:
        self.sparsity = sparsity
        self._layers = found.layers
        self._parts = chosen
        self._allow_empty_layers = allow_empty_layers
        self._scores = Scores(found.layers, source.weight, chosen.criterion, seed)

    def run(self) -> Mask:
        """The mask of the strategy's last round."""
        last = None
        with blamed(self._parts.strategy):
            for last in self._parts.strategy.rounds(self):
                if not isinstance(last, Round) or not isinstance(last.mask, Mask):
                    raise TypeError(f"a round must be a ticketkit.Round, found {last!r}")
                own = {name: layer.own_shape for name, layer in self._layers.items()}
                _check_cover(last.mask, own)
            if last is None:
                raise ValueError("it yielded no round")
        return last.mask

    def select(self, sparsity: float) -> Mask:
        """Score, allocate and select once: the mask of this sparsity."""
        budget = budget_of(self._parts.allocation, self._layers, sparsity, self._allow_empty_layers)
        with blamed(self._parts.scheme):
            mask = self._parts.scheme.select(self._scores, budget, None)
            if not isinstance(mask, Mask):
                raise TypeError(f"select must return a ticketkit.Mask, found {mask!r}")
            _check_cover(mask, {name: layer.shape for name, layer in self._layers.items()})
            _check_budget(mask, budget)
        return Mask({name: _own(self._layers[name], mask) for name in mask})


def budget_of(
    allocation: Allocation, layers: Mapping[str, Layer], sparsity: float, allow_empty_layers: bool
) -> Budget:
    """What a sparsity keeps: n - round(sparsity * n) weights, shared as the allocation says."""

    def keep(size: int) -> int:
        return size - round(sparsity * size)

    with blamed(allocation):
        shares = allocation.budgets(dict(layers), keep)
        if shares is None:
            return Budget(keep(sum(x.size for x in layers.values())), None, allow_empty_layers)
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
        return Budget(sum(shares.values()), shares, allow_empty_layers)


def _check_cover(mask: Mask, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if mask.shapes != dict(sorted(shapes.items())):
        odd = sorted({name for name, _ in mask.shapes.items() ^ shapes.items()})
        raise ValueError(f"the mask must cover every layer in its shape; differs in {some(odd)}")


def _check_budget(mask: Mask, budget: Budget) -> None:
    kept = {name: mask.packed(name).kept for name in mask}
    if sum(kept.values()) > budget.total:
        raise ValueError(f"it kept {mask.kept:,} weights, its budget is {budget.total:,}")
    for name, share in (budget.shares or {}).items():
        if kept[name] > share:
            raise ValueError(f"it kept {kept[name]:,} of {printable(name)}, its share is {share:,}")
    if not budget.allow_empty_layers and not all(kept.values()):
        empty = some(name for name, count in kept.items() if not count)
        raise ValueError(f"it kept nothing of {empty}, which was not allowed")


def _own(layer: Layer, mask: Mask) -> PackedBits | BlockBits:
    """One layer's bits, from its presented shape to its own."""
    packed = mask.packed(layer.name)
    if isinstance(packed, BlockBits):
        return BlockBits(layer, packed.block, packed.blocks)
    if layer.transposed is None:
        return packed
    own = layer.restore(packed.unpack())
    return PackedBits(own.shape, pack(own))


def _warn_of_empty_layers(mask: Mask) -> None:
    if empty := [name for name, sparsity in mask.layer_sparsity().items() if sparsity == 1]:
        warnings.warn(f"{len(empty)} layers keep nothing: {some(empty, 1000)}", stacklevel=3)


def _whole(name: str, value: object) -> int:
    """A whole number of any integer type, as an int."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"{name} is a whole number, found {value!r}") from None


def _globs(globs: Iterable[str]) -> tuple[str, ...]:
    listed = (globs,) if isinstance(globs, str) else tuple(globs or ())
    if odd := [glob for glob in listed if not isinstance(glob, str)]:
        raise UsageError(f"include and exclude are globs over parameter names, found {odd[0]!r}")
    return listed
