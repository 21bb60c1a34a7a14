"""From a task and an architecture to a pretrained checkpoint: the work behind `pretrain`."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ticketkit.errors import UsageError, printable
from ticketkit.experiments import Experiment, data_for, of_the_data, ready
from ticketkit.files import reserve
from ticketkit.options import written
from ticketkit.outcomes import Outcome, carried_out
from ticketkit.outputs import check_absent
from ticketkit.presets import schedule_of

if TYPE_CHECKING:
    import torch

    from ticketkit.loop import Fitted, Report
    from ticketkit.pretrained import Pretraining
    from ticketkit.stages import Run


@dataclass(frozen=True)
class Pretrain(Experiment):
    """What `ticketkit pretrain` was asked for."""

    output: Path = Path("pretrained.safetensors")

    def check(self) -> None:
        super().check()
        if self.arch is None:
            raise UsageError("--arch is needed: the network to pretrain, such as resnet18")
        if self.output.suffix != ".safetensors":
            raise UsageError(
                "a pretrained checkpoint is a safetensors file: give the output the suffix "
                f".safetensors, found {printable(self.output.name)!r}"
            )
        check_absent((self.output,), force=self.force or self.resume)


def pretrain(request: Pretrain, report: Report | None = None) -> dict[str, Any] | None:
    """Pretrain a network on a task, and write it with what later commands need to know of it.

    Returns what was done; None in all but the leading process of many.
    """
    request.check()
    from ticketkit.distributed import session
    from ticketkit.environment import device_of

    device = device_of(request.device)
    with session(device) as world, contextlib.ExitStack() as stack:
        # Placed before the processes leave one another, which may fail.
        place = stack.enter_context(reserve(request.output)) if world.leads else None
        request.check_run()
        work = _Pretraining(request, device, report)
        document = carried_out(request, "pretrain", work.recipe(), work.run, device, place)
    return document and {**document, "output": str(request.output)}


class _Pretraining:
    """The network to pretrain, and its data."""

    def __init__(self, request: Pretrain, device: torch.device, report: Report | None) -> None:
        from ticketkit.networks import network_of, of_kind
        from ticketkit.normalising import normalised

        self._request = request
        self._report = report
        self._task, self._robustifier = request.parts()
        self._schedule = schedule_of(
            request.fit, "pretrain", task=self._task.name, segmentation=self._task.segmentation
        )
        self._arch = of_kind(request.arch or "", segmentation=self._task.segmentation)
        self._data = data_for(request, self._task)
        self._of_data = of_the_data(self._data)
        model = network_of(self._arch, self._data.classes, self._data.shape[0], request.seed)
        normalised(model, **self._task.normalisation)
        self._model = ready(model, device)

    def recipe(self) -> dict[str, Any]:
        """What decides the bits."""
        from ticketkit.distributed import world

        return self._request.recipe(
            "pretrain",
            arch=self._arch,
            fit=written(self._schedule),
            data=self._of_data,
            processes=world().size,
        )

    def run(self, run: Run | None) -> Outcome:
        """Train, and measure on the source task."""
        from ticketkit.training import fit

        fitted = fit(
            self._model,
            self._data.train,
            schedule=self._schedule,
            robustifier=self._robustifier,
            seed=self._request.seed,
            run=run,
            workers=self._request.workers,
            report=self._report,
        )
        return Outcome(self._document(fitted) if run else {}, self._model, self._record())

    def _document(self, fitted: Fitted) -> dict[str, Any]:
        from ticketkit.sources import digest_of_tensors

        results, notes = self._request.measured(self._model, self._data, self._schedule)
        return {
            "schema": "ticketkit.pretrain/1",
            "pretraining": asdict(self._record()),
            "data": self._of_data,
            "steps": fitted.steps,
            "loss": fitted.loss,
            "results": results,
            "digest": digest_of_tensors(self._model.state_dict()),
            "notes": notes,
        }

    def _record(self) -> Pretraining:
        normalisation = dict(self._task.normalisation)
        return self._request.record(self._arch, self._data, self._schedule, normalisation)
