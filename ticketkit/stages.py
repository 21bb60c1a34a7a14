"""The stages and events of an open run: a stage appears whole, and is verified when it is read."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ticketkit.errors import OutputError, UsageError, printable
from ticketkit.eventlog import EventLog
from ticketkit.files import sync_folder
from ticketkit.locks import write_failure
from ticketkit.manifests import Stage, check_stage_name, fault_of, is_stage_name, seal

EVENTS = "events.jsonl"


class Run:
    """An open run, held against other processes; made by `open_run`.

    `notes` has what its user should know, such as stages that were found broken.
    """

    def __init__(self, path: Path, recipe: str, notes: list[str]) -> None:
        self.path = path
        self.notes = notes
        self._recipe = recipe
        self._events = EventLog(path / EVENTS)
        self._whole: set[str] = set()  # stages that this process wrote or verified

    def stages(self, series: str) -> list[Stage]:
        """The finished stages `SERIES<number>`, in the order of their numbers; not verified."""
        found = [Stage(path) for path in self.path.iterdir() if is_stage_name(path.name)]
        return sorted(
            (stage for stage in found if stage.series == series and stage.path.is_dir()),
            key=lambda stage: stage.order,
        )

    def newest(self, series: str) -> Stage | None:
        """The newest stage that is whole, as its manifest tells; None where there is none.

        Newer ones, which are broken, are renamed `NAME.bad`, and noted.
        """
        for stage in reversed(self.stages(series)):
            if not (fault := self._fault(stage)):
                return stage
            self._set_aside(stage, fault)
        return None

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Path]:
        """The folder in which to write the stage's files; they appear together as the block ends.

        An error in the block leaves none of them. What the block raises of OSErrors is taken for a
        failure to write, and becomes an `OutputError`.
        """
        check_stage_name(name)
        stage, partial = Stage(self.path / name), self.path / f"{name}.partial"
        if os.path.lexists(stage.path):
            shown = printable(str(stage.path))
            raise OutputError(f"{shown}: already there; a stage is never replaced")
        try:
            partial.mkdir()
            yield partial
            earlier = [each for each in self.stages(stage.series) if each.order < stage.order]
            seal(partial, self._recipe, earlier[-1] if earlier else None)
            self.event("stage", name=name)  # where `rewind_events` cuts
            self._events.sync()
            partial.rename(stage.path)
            sync_folder(self.path)
        except OSError as error:
            raise OutputError(write_failure(stage.path, error)) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._whole.add(name)

    def keep(self, series: str, *, last: int) -> None:
        """Drop all stages of a series but the last few, and but the newest that is whole."""
        if last < 1:
            raise UsageError(f"a run keeps one stage of a series at least, found {last}")
        stages = self.stages(series)
        older, kept = stages[:-last], stages[-last:]
        if not any(stage.name in self._whole for stage in kept):
            for stage in reversed(stages):
                if not self._fault(stage):
                    older = [each for each in older if each != stage]
                    break
        for stage in older:
            self._drop(stage)

    def series(self) -> list[str]:
        """The series of all finished stages."""
        found = (Stage(path) for path in self.path.iterdir() if is_stage_name(path.name))
        return sorted({stage.series for stage in found if stage.path.is_dir()})

    def discard(self, series: str) -> None:
        """Drop all stages of a series."""
        for stage in self.stages(series):
            self._drop(stage)

    def event(self, kind: str, /, **fields: Any) -> None:
        """Append an event to `events.jsonl`; fields are JSON, numbers that are not finite null."""
        self._events.add(kind, fields)

    def rewind_events(self) -> None:
        """Forget the events after the last stage that is there; all, where none is."""
        names = [path.name for path in self.path.iterdir() if is_stage_name(path.name)]
        if names:
            self._events.cut("stage", [{"name": name} for name in names])
        else:
            self._events.empty()

    def close(self) -> None:
        """Write no more."""
        self._events.close()

    def _fault(self, stage: Stage) -> str:
        if stage.name in self._whole:
            return ""
        fault = fault_of(stage, self._recipe)
        if not fault:
            self._whole.add(stage.name)
        return fault

    def _set_aside(self, stage: Stage, fault: str) -> None:
        for number in range(1, 10_000):
            bad = stage.path.with_name(f"{stage.name}.bad{number if number > 1 else ''}")
            if not os.path.lexists(bad):
                break
        _rename(stage.path, bad)
        told = f"{printable(str(stage.path))} is broken and was renamed {bad.name}: "
        self.notes.append(told + printable(fault))

    def _drop(self, stage: Stage) -> None:
        partial = stage.path.with_name(f"{stage.name}.partial")
        _rename(stage.path, partial)  # a half that is left is never taken for the whole
        shutil.rmtree(partial, ignore_errors=True)
        self._whole.discard(stage.name)


def _rename(path: Path, target: Path) -> None:
    try:
        path.rename(target)
        sync_folder(path.parent)
    except OSError as error:
        raise OutputError(write_failure(path, error)) from error
