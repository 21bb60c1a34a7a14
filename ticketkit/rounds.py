"""The rounds of a draw: each is saved as a ticket, told to plugins and found again."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ticketkit.digests import digest_of_mask
from ticketkit.distributed import world
from ticketkit.errors import is_stop, printable
from ticketkit.parts import FinishedRound
from ticketkit.registry import catalogue
from ticketkit.sharing import agree, share
from ticketkit.stages import Run
from ticketkit.ticket import Ticket, load_ticket

SERIES = "round-"
TICKET = "ticket.safetensors"
# Where trainings are saved: of a round, or of the time before there is one.
_TRAINING = re.compile(r"(?:round-(\d+)|first)-.*step-")


class Rounds:
    """Of many processes the leading one saves and tells, and all get the same mask."""

    def __init__(self, run: Run | None, report: Callable[[Mapping[str, Any]], None] | None) -> None:
        self._run = run
        self._report = report
        self.last = share(self._found())

    def _found(self) -> FinishedRound | None:
        """The last round in the run that is whole."""
        stage = self._run.newest(SERIES) if self._run is not None else None
        if stage is None:
            return None
        self._discard(stage.order[0] + 1)
        return FinishedRound(stage.order[0], load_ticket(stage.path / TICKET))

    def finish(self, ticket: Ticket) -> None:
        """A round is over, and this is its ticket."""
        number = self.last.number + 1 if self.last else 1
        if world().size > 1:
            agree(f"the mask of round {number}", digest_of_mask(ticket.mask))
        event = {
            "number": number,
            "sparsity": ticket.provenance.sparsity,
            "kept": ticket.mask.kept,
            "of": ticket.mask.size,
        }
        if self._run is not None:
            with self._run.stage(f"{SERIES}{number:03}") as folder:
                ticket.save(folder / TICKET)
                self._run.event("round", **event)
            self._discard(number + 1)
        self.last = FinishedRound(number, ticket)
        if world().leads:
            if self._report is not None:
                self._report({"event": "round", **event})
            _tell(self.last)

    def end(self) -> None:
        """All rounds are over."""
        if self._run is not None:
            self._discard(None)

    def _discard(self, number: int | None) -> None:
        """Drop what was saved in the midst of rounds, but for what this round can go on from."""
        assert self._run is not None
        for series in self._run.series():
            found = _TRAINING.match(series)
            if found and (number is None or int(found[1] or number) != number):
                self._run.discard(series)


def _tell(finished: FinishedRound) -> None:
    """Tell the plugins that listen; one that fails is named in a warning, and the draw goes on."""
    for moment in catalogue().moments:
        try:
            moment.tell(finished=finished)
        except BaseException as error:
            if is_stop(error):
                raise
            reason = printable(f"{type(error).__name__}: {error}")
            told = f"plugin {moment.plugin} failed as it was told of round {finished.number}"
            warnings.warn(f"{told}: {reason}", stacklevel=2)
