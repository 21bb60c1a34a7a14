"""What work in a run comes to: its document, its weights, and the file that was asked for."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ticketkit.experiments import Experiment, OnTask
from ticketkit.files import Output, reserve
from ticketkit.outputs import check_absent
from ticketkit.resultfile import DOCUMENT, read_result, write_result

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ticketkit.distributed import World
    from ticketkit.pretrained import Pretraining
    from ticketkit.stages import Run

RESULT = "result"
WEIGHTS = "model.safetensors"


@contextlib.contextmanager
def opened(
    asked: OnTask,
    command: str,
    recipe: Mapping[str, Any],
    device: torch.device,
    world: World,
) -> Iterator[Run | None]:
    """The run of the leading process; the others have none."""
    from ticketkit.environment import environment
    from ticketkit.runs import default_run, open_run

    if not world.leads:
        yield None
        return
    path = asked.run or default_run(command, recipe)
    with open_run(path, recipe, resume=asked.resume, environment=environment(device)) as run:
        yield run


@dataclass(frozen=True)
class Outcome:
    """What a training came to."""

    document: dict[str, Any]
    model: nn.Module
    record: Pretraining
    """What the file of its weights says of them."""


Work = Callable[["Run | None"], Outcome]
"""Trains in a run, and measures in the leading process."""


def carried_out(
    experiment: Experiment,
    command: str,
    recipe: Mapping[str, Any],
    work: Work,
    device: torch.device,
    place: Output | None,
) -> dict[str, Any] | None:
    """Do the work in a run, or find that it was done; write the weights to their place.

    Returns the document of the run; None in all but the leading process.
    """
    from ticketkit.distributed import world
    from ticketkit.sharing import agree, share

    agree("what they do", recipe)
    with opened(experiment, command, recipe, device, world()) as run:
        document = finished(run) if run is not None else None
        if run is not None and place is not None and not experiment.force:
            _check_place(place, run, done=document is not None)
        if not share(document is not None):
            outcome = work(run)
            if run is not None:
                document = _finish(run, outcome)
        if run is None:
            return None
        if place is not None:
            _copy_weights(run, place)
        assert document is not None
        return {**document, "run": str(run.path), "notes": [*document["notes"], *run.notes]}


def finished(run: Run) -> dict[str, Any] | None:
    """The document of a run that has come to its end; None of any other."""
    stage = run.newest(RESULT)
    if stage is None:
        return None
    return read_result(stage.path / DOCUMENT)


def _finish(run: Run, outcome: Outcome) -> dict[str, Any]:
    from ticketkit.saving import save_checkpoint

    with run.stage(RESULT) as folder:
        with reserve(folder / WEIGHTS) as output:
            save_checkpoint(output, outcome.model.state_dict(), outcome.record)
        return write_result(folder, outcome.document)


def _check_place(place: Output, run: Run, *, done: bool) -> None:
    """Refuse an output that is there already, unless it is this run's own."""
    if not os.path.lexists(place.path):
        return
    if not done or not filecmp.cmp(place.path, run.path / RESULT / WEIGHTS, shallow=False):
        check_absent((place.path,), force=False)


def _copy_weights(run: Run, place: Output) -> None:
    source = run.path / RESULT / WEIGHTS
    with source.open("rb") as weights, place.writing(source.stat().st_size) as file:
        shutil.copyfileobj(weights, file, 2**24)
