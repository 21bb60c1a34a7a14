"""Drawing a ticket: the parts combined, on a live network or on a checkpoint."""

from __future__ import annotations

import contextlib
import operator
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch

from ticketkit.checkpoint import Checkpoint
from ticketkit.choices import Parts
from ticketkit.collecting import collect
from ticketkit.digests import in_background
from ticketkit.distributed import world
from ticketkit.errors import UsageError, some
from ticketkit.jobs import Asked, StrategyJob
from ticketkit.mask import Mask
from ticketkit.parts import Allocation, Criterion, Robustifier, Scheme, Strategy
from ticketkit.prunable import Survey, survey
from ticketkit.rounds import Rounds
from ticketkit.scoring import Scores
from ticketkit.sharing import led
from ticketkit.sources import source_of
from ticketkit.ticket import Provenance, Ticket
from ticketkit.versions import versions_of

if TYPE_CHECKING:
    from ticketkit.loop import Report
    from ticketkit.parts import Batches, Loss
    from ticketkit.retraining import Recipe
    from ticketkit.schedules import Schedule
    from ticketkit.stages import Run


def draw(
    model: torch.nn.Module | Checkpoint,
    *,
    scheme: str | Scheme,
    sparsity: float | None = None,
    criterion: str | Criterion = "magnitude",
    allocation: str | Allocation | None = None,
    strategy: str | Strategy = "omp",
    seed: int = 0,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    allow_empty_layers: bool = False,
    digest: bool = False,
    batches: Batches | None = None,
    loss: Loss | None = None,
    data: Any = None,
    schedule: str | Schedule | None = None,
    stage: Literal["upstream", "downstream"] = "upstream",
    robustifier: str | Robustifier | None = None,
    run: Run | str | os.PathLike[str] | None = None,
    resume: bool = False,
    workers: int = 0,
    save_every: float = 60.0,
    report: Report | None = None,
) -> Ticket:
    """Draw a ticket from a network or an open checkpoint, which is left alone.

    `sparsity` is the fraction of the prunable weights to remove, in [0, 1); a scheme that has one
    of its own, such as `"nm:n=2,m=4"`, needs none. Parts are spec strings or instances; without an
    `allocation` it is the strategy's own. `include` and `exclude` are `fnmatch` globs over
    parameter names. Unless `allow_empty_layers`, each layer keeps its best block. The source's
    digest is recorded for a checkpoint, and for a network where `digest` asks for it. A criterion
    that looks at data, such as `"taylor"`, takes a network and `batches`, which yields (inputs,
    targets); `loss(outputs, targets)` is a scalar, by default the cross-entropy. The ticket's
    provenance does not record the data.

    A strategy that trains, such as `"imp"` or `"lmp"`, takes a network, of which it trains a copy,
    and `data`; this, `schedule` (by default `"small"`), `robustifier`, `loss`, `run`, `resume`,
    `workers`, `save_every` and `report` are as in `fit`. A preset means other rounds upstream, on
    the task that the network was trained on, than with `stage="downstream"`. Each finished round is
    saved in the run, as a ticket, and a draw that was killed goes on from there. BatchNorm and the
    task head are trained too, and nothing of what is trained is in the ticket but its mask.
    `batches` are then gone through in each round.

    Of many processes of torch.distributed, all of which have to call it, the first selects, and all
    get its ticket, or its error.

    Raises `UsageError` (an option without meaning, a sparsity out of reach), `InputError` (weights
    that cannot be ranked), `PluginError` (a part that fails), `TrainingError` (processes that hold
    different masks, or are gone) and what `fit` raises, all of them `TicketkitError`.
    """
    chosen = Parts.resolve(scheme, criterion, allocation, strategy)
    asked = Asked(chosen, chosen.sparsity(sparsity), _whole("seed", seed), bool(allow_empty_layers))
    trains, network = chosen.strategy.trains, isinstance(model, torch.nn.Module)
    chosen.check_data(network=network, batches=batches, loss=None if trains else loss)
    chosen.check_training(
        network=network, data=data, others=(schedule, robustifier, run, resume or None)
    )
    recipe = None
    if trains:
        from ticketkit.retraining import recipe_of

        if stage not in ("upstream", "downstream"):
            raise UsageError(f"stage is one of upstream, downstream; found {stage!r}")
        up = stage == "upstream"
        recipe = recipe_of(
            data, schedule, chosen.strategy, robustifier, loss, asked.seed, upstream=up
        )
        recipe = replace(recipe, workers=workers, save_every=save_every, report=report)
    source, include, exclude = source_of(model), _globs(include), _globs(exclude)
    chosen.check()
    return drawn(
        model,
        asked,
        survey(source.tensors(), include, exclude, chosen.spares),
        include=include,
        exclude=exclude,
        digest=source.digest if digest or not network else None,
        batches=batches,
        loss=loss,
        recipe=recipe,
        run=run,
        resume=resume,
    )


_NOTHING: Mapping[str, str] = MappingProxyType({})


def drawn(
    model: torch.nn.Module | Checkpoint,
    asked: Asked,
    found: Survey,
    *,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    digest: Callable[[], str] | None,
    about: Mapping[str, str] = _NOTHING,
    batches: Batches | None = None,
    loss: Loss | None = None,
    recipe: Recipe | None = None,
    run: Run | str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Ticket:
    """`draw`, of what is asked for, which was checked.

    `found` is what of the model is cut, `digest` finds the digest of the source, `about` is what
    else its provenance tells, and `recipe` is how a strategy trains that does.
    """
    chosen, source = asked.parts, source_of(model)
    provenance = Provenance(
        **chosen.specs(),
        sparsity=asked.sparsity,
        seed=asked.seed,
        include=include,
        exclude=exclude,
        allow_empty_layers=asked.allow_empty_layers,
        normalisation=source.normalisation(),
        versions=versions_of(*vars(chosen).values()),
        **about,
    )
    with contextlib.ExitStack() as stack:
        hashed = stack.enter_context(in_background(digest if world().leads else None))
        training = None
        if recipe is not None and isinstance(model, torch.nn.Module):
            from ticketkit.retraining import retrained

            asked.check_reachable(found.layers)
            provenance = recipe.told(provenance)
            training = stack.enter_context(retrained(model, recipe, provenance, run, resume=resume))
            model = training.model
            source = source_of(model)

        def scored() -> Scores:
            statistics = None
            if batches is not None and isinstance(model, torch.nn.Module):
                for layer in found.layers.values():
                    source.weight(layer)  # weights that cannot be ranked need no data
                statistics = collect(chosen.criterion, model, found, batches, loss, asked.seed)
            return Scores(found.layers, source.weight, chosen.criterion, asked.seed, statistics)

        def ticket_of(mask: Mask, aim: float) -> Ticket:
            told = replace(provenance, sparsity=aim, source=led(hashed))
            return Ticket(mask, told, found.counts, found.aliases)

        rounds = Rounds(training.run if training else None, recipe.report if recipe else None)
        ticket = StrategyJob(asked, found.layers, scored, ticket_of, rounds, training).run()
    if not asked.sparsity:
        warnings.warn("sparsity 0: the ticket keeps every weight", stacklevel=3)
    if asked.allow_empty_layers:
        _warn_of_empty_layers(ticket.mask)
    return ticket


def _warn_of_empty_layers(mask: Mask) -> None:
    if empty := [name for name, sparsity in mask.layer_sparsity().items() if sparsity == 1]:
        warnings.warn(f"{len(empty)} layers keep nothing: {some(empty, 1000)}", stacklevel=4)


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
