"""The training of a draw: its network is trained again and again, and brought back in between."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from ticketkit.distributed import whole_world
from ticketkit.errors import UsageError
from ticketkit.feeding import feed_of
from ticketkit.loop import Loop, Report
from ticketkit.losses import cross_entropy
from ticketkit.mask import unwrap
from ticketkit.options import resolve, spec_of, written
from ticketkit.parts import Robustifier, Strategy
from ticketkit.presets import schedule_of, stage_of
from ticketkit.saver import Saver
from ticketkit.schedules import Schedule
from ticketkit.seeds import seed_of
from ticketkit.sharing import agree
from ticketkit.sources import digest_of_tensors
from ticketkit.stacking import count_of
from ticketkit.stages import Run
from ticketkit.ticket import Provenance
from ticketkit.training import data_in_recipe, led_run, name_of
from ticketkit.versions import versions_of

if TYPE_CHECKING:
    from ticketkit.mask import Mask
    from ticketkit.parts import Loss

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a draw trains."""

    data: Any
    schedule: Schedule
    loss: Loss
    robustifier: Robustifier | None
    seed: int
    workers: int = 0
    save_every: float = 60.0
    report: Report | None = None

    def told(self, provenance: Provenance) -> Provenance:
        """A draw's provenance, with how it trains."""
        robust = self.robustifier
        return replace(
            provenance,
            fit=written(self.schedule),
            robustifier=None if robust is None else spec_of(robust),
            versions={**versions_of(robust), **provenance.versions},
        )


def recipe_of(
    data: Any,
    schedule: str | Schedule | None,
    strategy: Strategy,
    robustifier: str | Robustifier | None,
    loss: Loss | None,
    seed: int,
    *,
    upstream: bool,
) -> Recipe:
    """The recipe of a draw from what its caller says."""
    robust = None
    if robustifier is not None:
        robust = cast("Robustifier", resolve("robustifier", robustifier))
    chosen = schedule_of(
        schedule or "small",
        stage_of(strategy, upstream=upstream),
        robust=robust is not None,
        count=count_of(data),
    )
    return Recipe(data, chosen, loss or cross_entropy, robust, seed)


@contextlib.contextmanager
def retrained(
    model: nn.Module,
    recipe: Recipe,
    provenance: Provenance,
    run: Run | str | os.PathLike[str] | None,
    *,
    resume: bool,
) -> Iterator[Retraining]:
    """A copy of a network for a strategy to train, in a run where one is asked for."""
    inner = unwrap(model)
    what = {
        "command": "draw",
        **{name: value for name, value in vars(provenance).items() if name not in _NOT_ASKED},
        "data": data_in_recipe(recipe.data),
        "loss": name_of(recipe.loss),
        "network": digest_of_tensors(inner.state_dict()),
        "processes": whole_world().size,
    }
    agree("the draw", what)
    feed_of(recipe.data, recipe.schedule, 0, whole_world(), recipe.workers)  # or nothing is begun
    with contextlib.ExitStack() as stack:
        if run is not None and not isinstance(run, Run):
            run = stack.enter_context(led_run(Path(run), what, inner, resume=resume))
        yield Retraining(copy.deepcopy(inner), recipe, run)


# Of a provenance: what follows from the rest, or may change without changing a bit.
_NOT_ASKED = ("versions", "source", "normalisation", "task")


class Retraining:
    """A network that a strategy trains, and its way back.

    Trainings have names, by which one that was killed is found again: their round, and their place
    in it.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, run: Run | None) -> None:
        self.model = model
        self.run = run
        self._recipe = recipe
        self._pretrained = self.state()
        self._places: dict[int, int] = {}

    def fit(
        self,
        number: int,
        mask: Mask | None = None,
        *,
        steps: int = 0,
        network: nn.Module | None = None,
    ) -> None:
        """Train for a round, or for none (0), by a fresh optimizer.

        With `steps` for the first ones of the schedule alone. `network` is trained in the place of
        the model.
        """
        recipe = self._recipe
        place = self._places[number] = self._places.get(number, 0) + 1
        name = f"round-{number:03}-{place}" if number else f"once-{place}"
        seed = seed_of(recipe.seed, name)
        feed = feed_of(recipe.data, recipe.schedule, seed, whole_world(), recipe.workers)
        total = recipe.schedule.total(feed.batches)
        if not 0 <= steps < total:
            raise UsageError(f"a training of {total:,} steps cannot end early after {steps:,}")
        about = {"round": number} if number else {}
        loop = Loop(
            self.model if network is None else network,
            feed,
            recipe.schedule,
            loss=recipe.loss,
            robustifier=recipe.robustifier,
            seed=seed,
            saver=Saver(self.run, recipe.save_every, f"{name}-step-", about),
            report=recipe.report,
        )
        loop.run(mask, recipe.data, steps)

    def state(self) -> State:
        """A copy of all parameters and buffers."""
        return {name: tensor.detach().clone() for name, tensor in self._tensors()}

    def rewind(self, state: State | None = None) -> None:
        """Bring all parameters and buffers back, bit for bit; by default as they were at first."""
        found = self._pretrained if state is None else state
        with torch.no_grad():
            for name, tensor in self._tensors():
                tensor.copy_(found[name])

    def _tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Parameters and buffers, those too that no state dict has."""
        return itertools.chain(self.model.named_parameters(), self.model.named_buffers())
