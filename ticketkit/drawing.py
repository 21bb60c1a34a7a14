"""Drawing a ticket: the parts combined, on a live network or on a checkpoint."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch

from ticketkit.bits import BlockBits, PackedBits, pack
from ticketkit.blame import blamed
from ticketkit.budgets import Budget, budget_of
from ticketkit.checkpoint import Checkpoint
from ticketkit.choices import Parts
from ticketkit.collecting import collect
from ticketkit.digests import digest_of_mask, in_background
from ticketkit.distributed import world
from ticketkit.errors import UsageError, printable, some
from ticketkit.layer import Layer
from ticketkit.mask import Mask
from ticketkit.parts import Allocation, Criterion, Round, Scheme, Strategy
from ticketkit.prunable import survey
from ticketkit.scoring import Scores
from ticketkit.sharing import agree, led
from ticketkit.sources import source_of
from ticketkit.ticket import Provenance, Ticket
from ticketkit.versions import versions_of

if TYPE_CHECKING:
    from ticketkit.parts import Batches, Loss


def draw(
    model: torch.nn.Module | Checkpoint,
    *,
    scheme: str | Scheme,
    sparsity: float | None = None,
    criterion: str | Criterion = "magnitude",
    allocation: str | Allocation = "global",
    strategy: str | Strategy = "omp",
    seed: int = 0,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    allow_empty_layers: bool = False,
    digest: bool = False,
    batches: Batches | None = None,
    loss: Loss | None = None,
) -> Ticket:
    """Draw a ticket from a network or an open checkpoint, which is left alone.

    `sparsity` is the fraction of the prunable weights to remove, in [0, 1); a scheme that has one
    of its own, such as `"nm:n=2,m=4"`, needs none. Parts are spec strings or instances. `include`
    and `exclude` are `fnmatch` globs over parameter names. Unless `allow_empty_layers`, each layer
    keeps its best block. The source's digest is recorded for a checkpoint, and for a network where
    `digest` asks for it. A criterion that looks at data, such as `"taylor"`, takes a network and
    `batches`, which yields (inputs, targets); `loss(outputs, targets)` is a scalar, by default the
    cross-entropy. The ticket's provenance does not record the data.

    Of many processes of torch.distributed, all of which have to call it, the first draws, and all
    get its ticket, or its error.

    Raises `UsageError` (an option without meaning, a sparsity out of reach), `InputError` (weights
    that cannot be ranked), `PluginError` (a part that fails), `TrainingError` (processes that hold
    different masks, or are gone), all of them `TicketkitError`.
    """
    chosen = Parts.resolve(scheme, criterion, allocation, strategy)
    sparsity = chosen.sparsity(sparsity)
    seed = _whole("seed", seed)
    source_of(model)
    include, exclude = _globs(include), _globs(exclude)
    chosen.check_data(network=not isinstance(model, Checkpoint), batches=batches, loss=loss)
    drawing = partial(
        _drawn,
        model,
        chosen,
        sparsity=sparsity,
        seed=seed,
        include=include,
        exclude=exclude,
        allow_empty_layers=bool(allow_empty_layers),
        digest=digest or isinstance(model, Checkpoint),
        batches=batches,
        loss=loss,
    )
    ticket = led(drawing)
    if world().size > 1:
        agree("the mask", digest_of_mask(ticket.mask))
    if not sparsity:
        warnings.warn("sparsity 0: the ticket keeps every weight", stacklevel=2)
    if allow_empty_layers:
        _warn_of_empty_layers(ticket.mask)
    return ticket


def _drawn(
    model: torch.nn.Module | Checkpoint,
    chosen: Parts,
    *,
    sparsity: float,
    seed: int,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    allow_empty_layers: bool,
    digest: bool,
    batches: Batches | None,
    loss: Loss | None,
) -> Ticket:
    """The ticket, as its options are found to be good."""
    source = source_of(model)
    found = survey(source.tensors(), include, exclude, chosen.spares)
    statistics = None
    if batches is not None and isinstance(model, torch.nn.Module):
        for layer in found.layers.values():
            source.weight(layer)  # weights that cannot be ranked need no data
        statistics = collect(chosen.criterion, model, found, batches, loss, seed)
    scores = Scores(found.layers, source.weight, chosen.criterion, seed, statistics)
    with in_background(source.digest if digest else None) as hashed:
        mask = _Job(scores, chosen, sparsity, allow_empty_layers).run()
        sha256 = hashed()
    provenance = Provenance(
        **chosen.specs(),
        sparsity=sparsity,
        seed=seed,
        include=include,
        exclude=exclude,
        allow_empty_layers=allow_empty_layers,
        source=sha256,
        normalisation=source.normalisation(),
        versions=versions_of(*vars(chosen).values()),
    )
    return Ticket(mask, provenance, found.counts, found.aliases)


class _Job:
    """What a strategy works on; it sees `sparsity` and `select`."""

    def __init__(
        self, scores: Scores, chosen: Parts, sparsity: float, allow_empty_layers: bool
    ) -> None:
        self.sparsity = sparsity
        self._layers = scores.layers
        self._parts = chosen
        self._allow_empty_layers = allow_empty_layers
        self._scores = scores

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
        budget = budget_of(self._parts, self._layers, sparsity, self._allow_empty_layers)
        with blamed(self._parts.scheme):
            mask = self._parts.scheme.select(self._scores, budget, None)
            if not isinstance(mask, Mask):
                raise TypeError(f"select must return a ticketkit.Mask, found {mask!r}")
            _check_cover(mask, {name: layer.shape for name, layer in self._layers.items()})
            _check_budget(mask, budget)
        return Mask({name: _own(self._layers[name], mask) for name in mask})


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
