"""From a ticket and its checkpoint to a downstream task: the work behind `transfer`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.describe import (
    of_normalisation,
    origin_document,
    ticket_origin,
    without_normalisation,
)
from ticketkit.errors import UsageError, printable, some
from ticketkit.experiments import Experiment, data_for, of_the_data, ready
from ticketkit.files import reserve
from ticketkit.options import written
from ticketkit.outcomes import Outcome, carried_out
from ticketkit.outputs import check_absent, same_place
from ticketkit.presets import schedule_of
from ticketkit.priors import check_mode
from ticketkit.ticket import Ticket, load_ticket

if TYPE_CHECKING:
    import torch

    from ticketkit.loop import Fitted, Report
    from ticketkit.pretrained import Pretraining
    from ticketkit.stages import Run


@dataclass(frozen=True)
class Transfer(Experiment):
    """What `ticketkit transfer` was asked for."""

    ticket: Path = Path()
    checkpoint: Path = Path()
    mode: str = "linear"
    output: Path | None = None
    """Where the transferred weights go, beside the run; None for nowhere else."""
    verify: bool = True
    checkpoint_key: str | None = None
    prior: Mapping[str, Any] | None = None
    """What is told of the prior that chose the checkpoint; None for one that was named."""

    def check(self) -> None:
        super().check()
        check_mode(self.mode)
        self._check_schedule()
        if self.output is None:
            return
        if self.output.suffix != ".safetensors":
            raise UsageError(
                "the transferred weights are a safetensors file: give the output the suffix "
                f".safetensors, found {printable(self.output.name)!r}"
            )
        for path in (self.ticket, self.checkpoint):
            if same_place(self.output, path):
                raise UsageError(f"the output would replace its input {printable(str(path))}")
        check_absent((self.output,), force=self.force or self.resume)

    def _check_schedule(self) -> None:
        """Refuse, before data is read, a schedule that is wrong however much of it there is."""
        task, robustifier = self.parts()
        chosen = schedule_of(self.fit, self.mode, segmentation=task.segmentation)  # type: ignore[arg-type]
        chosen.check_solver(linear=self.mode == "linear", plain=robustifier is None)


def transferred(request: Transfer, report: Report | None = None) -> dict[str, Any] | None:
    """Transfer a ticket to a task: returns what it came to.

    Refuses weights that the ticket was not drawn from, unless `verify` is false. None in all but
    the leading process of many.
    """
    request.check()
    ticket = load_ticket(request.ticket, request.verify)
    checkpoint = open_checkpoint(request.checkpoint, request.checkpoint_key)
    digest = checkpoint.digest()
    if request.verify:
        ticket.check_source(digest)
    from ticketkit.distributed import session
    from ticketkit.environment import device_of

    device = device_of(request.device)
    with session(device) as world, contextlib.ExitStack() as stack:
        # Placed before the processes leave one another, which may fail.
        asked = world.leads and request.output
        place = stack.enter_context(reserve(asked)) if asked else None
        request.check_run()
        work = _Transfer(request, ticket, checkpoint, digest, device, report)
        document = carried_out(request, "transfer", work.recipe(), work.run, device, place)
    output = request.output and str(request.output)
    return document and {**document, "prior": request.prior, "output": output}


class _Transfer:
    """The network that a ticket is of, on its downstream task."""

    def __init__(
        self,
        request: Transfer,
        ticket: Ticket,
        checkpoint: Checkpoint,
        digest: str,
        device: torch.device,
        report: Report | None,
    ) -> None:
        from ticketkit.opening import network_for
        from ticketkit.transplanting import mask_of

        self._request = request
        self._of_ticket = ticket_origin(ticket)
        self._checkpoint = checkpoint
        self._report = report
        self._task, self._robustifier = request.parts()
        self._data = data_for(request, self._task)
        self._schedule = schedule_of(
            request.fit,
            request.mode,  # type: ignore[arg-type]  # it was checked
            task=self._task.name,
            segmentation=self._task.segmentation,
            count=len(self._data.train),  # type: ignore[arg-type]
        )
        opened = network_for(
            checkpoint,
            request.arch,
            self._data.classes,
            self._data.shape[0],
            request.seed,
            segmentation=self._task.segmentation,
            skip_head=True,
        )
        self._arch = opened.arch
        self._digest = digest
        self._of_data = of_the_data(self._data)
        self._notes = [f"new, and trained: {some(opened.loaded.fresh)}"]
        if checkpoint.pretraining is None:
            self._notes += [*of_normalisation(checkpoint), *without_normalisation(checkpoint)]
        self._model = ready(opened.model, device)
        self._mask = mask_of(ticket, self._model)

    def recipe(self) -> dict[str, Any]:
        """What decides the bits."""
        from ticketkit.distributed import world

        told = self._checkpoint.pretraining
        return self._request.recipe(
            "transfer",
            arch=self._arch,
            mode=self._request.mode,
            fit=written(self._schedule),
            ticket=self._of_ticket["sha256"],
            checkpoint=self._digest,
            # Which the digest does not tell.
            normalisation=self._checkpoint.normalisation(),
            source=told and asdict(told),
            data=self._of_data,
            processes=world().size,
        )

    def run(self, run: Run | None) -> Outcome:
        """Train, keeping the ticket's zeros, and measure on the downstream task."""
        from ticketkit.downstream import transfer

        fitted = transfer(
            self._model,
            self._mask,
            self._data.train,
            mode=self._request.mode,  # type: ignore[arg-type]  # it was checked
            schedule=self._schedule,
            robustifier=self._robustifier,
            seed=self._request.seed,
            run=run,
            workers=self._request.workers,
            report=self._report,
        )
        record = self._record()
        return Outcome(self._document(fitted, record) if run else {}, self._model, record)

    def _document(self, fitted: Fitted | None, record: Pretraining) -> dict[str, Any]:
        from ticketkit.sources import digest_of_tensors
        from ticketkit.transplanting import revived_in

        results, notes = self._request.measured(self._model, self._data, self._schedule)
        return {
            "schema": "ticketkit.transfer/1",
            **origin_document(record),
            "data": self._of_data,
            "steps": fitted and fitted.steps,
            "loss": fitted and fitted.loss,
            "digest": digest_of_tensors(self._model.state_dict()),
            "removed": self._mask.size - self._mask.kept,
            "revived": revived_in(self._model, self._mask),
            "results": results,
            "notes": [*self._notes, *notes],
        }

    def _record(self) -> Pretraining:
        from ticketkit.normalising import normalisation_of
        from ticketkit.pretrained import Lineage

        lineage = Lineage(self._request.mode, self._of_ticket, self._checkpoint.pretraining)
        normalisation = normalisation_of(self._model)
        record = self._request.record(self._arch, self._data, self._schedule, normalisation)
        return replace(record, lineage=lineage)
