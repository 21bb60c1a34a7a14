"""`fit`: the one training, for every use."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ticketkit.digests import digest_of_mask
from ticketkit.distributed import whole_world, world
from ticketkit.environment import environment
from ticketkit.errors import UsageError
from ticketkit.feeding import feed_of
from ticketkit.files import sha256
from ticketkit.loop import Fitted, Loop, Report
from ticketkit.losses import cross_entropy
from ticketkit.mask import Mask, unwrap
from ticketkit.options import resolve, spec_of, written
from ticketkit.parts import Robustifier
from ticketkit.pictures import Pictures
from ticketkit.presets import Stage, schedule_of
from ticketkit.runs import open_run
from ticketkit.saver import Saver
from ticketkit.schedules import Schedule
from ticketkit.sharing import agree
from ticketkit.stacking import count_of
from ticketkit.stages import Run

if TYPE_CHECKING:
    import torch

    from ticketkit.parts import Loss


def fit(
    model: torch.nn.Module,
    data: Any,
    *,
    schedule: str | Schedule = "small",
    stage: Stage = "pretrain",
    loss: Loss | None = None,
    mask: Mask | None = None,
    robustifier: str | Robustifier | None = None,
    seed: int = 0,
    run: Run | str | os.PathLike[str] | None = None,
    resume: bool = False,
    workers: int = 0,
    save_every: float = 60.0,
    report: Report | None = None,
) -> Fitted:
    """Train a network in place: its parameters that require gradients, by the schedule's optimizer.

    `data` is a map-style torch Dataset of (picture, target), or an iterable of (inputs, targets)
    with a length, such as a DataLoader, which shuffles and augments by itself. Pictures are in
    [0, 1], or bytes; see `ticketkit.normalised`. `loss(outputs, targets)` is a scalar, by default
    the cross-entropy. `schedule` is a spec such as `"small:epochs=4"`, of a preset for the stage
    `"pretrain"`, `"finetune"`, `"linear"` or `"mask"`, or a `Schedule`. A `mask` is held: removed
    weights are +0.0 after each step. A `robustifier` perturbs the inputs of each step.

    `run` is a folder in which the training is saved, every `save_every` seconds, at ends of epochs
    sooner, and at the end. `resume` goes on from there, to the same bits as a training that was
    never interrupted, with the same threads on the same machine. With a loader of the caller's own
    it goes on at the last end of an epoch. Of the data a run records the digest of `Pictures`, and
    the length of other sets; of a loss its name. `report` is called with each event that the run's
    `events.jsonl` gets.
    Under torchrun, and once torch.distributed is initialised, the processes share each batch.

    Raises `UsageError`, `InputError`, `TrainingError` (a loss that is not finite, no memory left),
    `PluginError` (a robustifier that fails) and `Stopped`, all of them `TicketkitError`.
    """
    chosen = schedule_of(schedule, stage, count=count_of(data))
    if chosen.solver != "sgd":
        raise UsageError(
            "fit trains in steps; solver=newton is for the linear evaluation of transfer"
        )
    robust = (
        None if robustifier is None else cast("Robustifier", resolve("robustifier", robustifier))
    )
    together = whole_world()
    feed = feed_of(data, chosen, seed, together, workers)
    recipe = {
        "command": "fit",
        "schedule": written(chosen),
        "robustifier": robust and spec_of(robust),
        "seed": seed,
        "batches": feed.batches,
        "data": data_in_recipe(data),
        "loss": name_of(loss or cross_entropy),
        "mask": mask and digest_of_mask(mask),
        "network": _shapes(model),
        "processes": together.size,
    }
    agree("the training", recipe)
    with contextlib.ExitStack() as stack:
        if run is not None and not isinstance(run, Run):
            run = stack.enter_context(led_run(Path(run), recipe, model, resume=resume))
        loop = Loop(
            unwrap(model),
            feed,
            chosen,
            loss=loss or cross_entropy,
            robustifier=robust,
            seed=seed,
            saver=Saver(run, save_every),
            report=report,
        )
        return loop.run(mask, data)


@contextlib.contextmanager
def led_run(
    path: Path, recipe: dict[str, Any], model: torch.nn.Module, *, resume: bool
) -> Iterator[Run | None]:
    """The run of the leading process, its notes told as warnings; the others have none."""
    if not world().leads:
        yield None
        return
    here = environment(next(model.parameters()).device)
    with open_run(path, recipe, resume=resume, environment=here) as run:
        for note in run.notes:
            warnings.warn(note, stacklevel=5)
        yield run


def data_in_recipe(data: Any) -> str | int | None:
    """What a run records of data: its digest where it is in memory, or else its length."""
    return data.digest() if isinstance(data, Pictures) else count_of(data) or None


def name_of(loss: Loss) -> str:
    """What a run records of a loss."""
    return str(getattr(loss, "__qualname__", type(loss).__qualname__))


def _shapes(model: torch.nn.Module) -> str:
    """A digest of the names and shapes of a network's parameters and buffers."""
    state = unwrap(model).state_dict().items()
    shapes = {name: list(t.shape) for name, t in state if hasattr(t, "shape")}
    return sha256(json.dumps(shapes, sort_keys=True).encode())
