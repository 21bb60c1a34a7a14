"""The rounds of a draw: each is saved as a ticket, told to plugins and found again."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ticketkit.digests import digest_of_mask
from ticketkit.distributed import world
from ticketkit.errors import is_stop, printable
from ticketkit.parts import FinishedRound
from ticketkit.registry import catalogue
from ticketkit.sharing import agree, led
from ticketkit.stages import Run
from ticketkit.ticket import Ticket, load_ticket

SERIES = "round-"
TICKET = "ticket.safetensors"
# The stage of a draw that has come to its end, with the number of its last round.
_OVER = "over-"
# Where trainings are saved: of a round, or of none.
_TRAINING = re.compile(r"(?:round-(\d+)|once)-.*step-")


class Rounds:
    """Of many processes the leading one saves and tells, and all get the same mask."""

    def __init__(
        self,
        run: Run | None,
        report: Callable[[Mapping[str, Any]], None] | None,
        *,
        alone: bool = False,
    ) -> None:
        """`alone`: the leading process alone asks what is there, and the others are not told."""
        self._run = run
        self._report = report
        self.last, self.over = self._found() if alone else led(self._found)

    def _found(self) -> tuple[FinishedRound | None, bool]:
        """The last round in the run that is whole, and whether all are over."""
        stage = self._run.newest(SERIES) if self._run is not None else None
        if stage is None or self._run is None:
            return None, False
        number = stage.order[0]
        self._discard(number + 1)
        last = FinishedRound(number, load_ticket(stage.path / TICKET))
        over = self._run.newest(_OVER)
        if over is not None and over.order[0] != number:  # a later round was damaged since
            self._run.discard(_OVER)
        return last, over is not None and over.order[0] == number

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
        if self._run is not None and self.last is not None:
            self._discard(None)
            with self._run.stage(f"{_OVER}{self.last.number:03}"):
                pass
        self.over = True

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
            with contextlib.redirect_stdout(sys.stderr):  # ours is the output of a command
                moment.tell(finished=finished)
        except BaseException as error:
            if is_stop(error):
                raise
            reason = printable(f"{type(error).__name__}: {error}")
            told = f"plugin {moment.plugin} failed as it was told of round {finished.number}"
            warnings.warn(f"{told}: {reason}", stacklevel=2)
