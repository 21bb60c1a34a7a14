"""Where a training stands, saved now and then: a run that is killed goes on from there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ticketkit.errors import printable
from ticketkit.sharing import share
from ticketkit.stages import Run
from ticketkit.trainstate import load_state, save_state

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Position:
    """A place between two batches, and the loss of the epoch so far."""

    epoch: int = 0
    batch: int = 0
    """Batches of this epoch that are done."""
    step: int = 0
    """Batches that are done in all."""
    loss: float = 0.0
    """The sum of this epoch's losses."""
    mean: float | None = None
    """The mean loss of the last whole epoch."""

    def after(self, loss: float, batches: int) -> Position:
        """The place after the next batch, of an epoch of so many."""
        done, total, step = self.batch + 1, self.loss + loss, self.step + 1
        if done == batches:
            return Position(self.epoch + 1, 0, step, 0.0, total / done)
        return Position(self.epoch, done, step, total, self.mean)


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Saver:
    """Saves a training in a run's folder: by the clock, and at the end of each epoch.

    Only the leading process writes; what it read is given to all others. Without a run, nothing is
    saved.
    """

    def __init__(
        self,
        run: Run | None,
        every: float,
        series: str = "step-",
        about: Mapping[str, Any] = _NOTHING,
    ) -> None:
        """`series` is the name of its stages, and `about` what every event tells beside its own."""
        self.about = about
        self._run = run
        self._series = series
        self._every = every
        self._last = time.monotonic()
        self._place = share(None if run is None else printable(str(run.path)))

    def restore(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Position:
        """Bring both to where they were saved last; the position."""
        found = None
        if self._run is not None:
            stage = self._run.newest(self._series)
            self._run.rewind_events()
            found = load_state(stage.path) if stage else None
        state = share(found)
        if state is None:
            return Position()
        model.load_state_dict(state.model)
        optimizer.load_state_dict(state.optimizer)
        return Position(**state.position)

    def due(self, position: Position) -> bool:
        """Whether it is time to save; it is sooner at the end of an epoch."""
        wait = self._every if position.batch else self._every / 60
        return self._run is not None and time.monotonic() - self._last >= wait

    def save(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, position: Position
    ) -> None:
        """Save, and drop all but the last two."""
        if self._run is None:
            return
        with self._run.stage(f"{self._series}{position.step:09}") as folder:
            save_state(folder, model.state_dict(), optimizer.state_dict(), asdict(position))
        self._run.keep(self._series, last=2)
        self._last = time.monotonic()

    def tell(self, event: str, **fields: Any) -> None:
        """Write an event to the run."""
        if self._run is not None:
            self._run.event(event, **fields)

    @property
    def where(self) -> str:
        """Where the training is saved, and how to go on, in words."""
        if self._place is None:
            return "not saved"
        if self._run is not None and not self._run.series():
            return "nothing was saved yet"
        return f"saved in {self._place}; --resume goes on from there"

    @property
    def last(self) -> str:
        """What is left of the training where it cannot go on, in words."""
        if self._place is None or (self._run is not None and not self._run.series()):
            return "nothing was saved before"
        return f"the last good state is saved in {self._place}"
