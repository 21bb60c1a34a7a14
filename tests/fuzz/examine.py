"""One input given to the readers: was it accepted, and did anything but a refusal come out?"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.corpus import Sample
from tests.fuzz.memory import peak_reset, resident
from tests.fuzz.readers import Reader, check_message
from ticketkit.errors import TicketkitError


@dataclass
class Outcome:
    """What became of one input."""

    accepted: list[str] = field(default_factory=list)
    """The readers that did not refuse it."""
    seconds: float = 0
    growth: int = 0
    """Bytes that the peak of the process's memory lay above what it held before."""
    kind: str = ""
    """`"error"`, `"memory"`, `"hang"` or `"crash"` for a finding."""
    trouble: str = ""
    """What was found; the first line is the same for what has the same cause."""


def examine(
    sample: Sample, readers: Mapping[str, Reader], folder: Path, most_growth: int
) -> Outcome:
    """Give a sample to each reader in turn, in an empty folder that is empty again afterwards."""
    outcome = Outcome()
    path = sample.write(folder)
    began = time.monotonic()
    for name, read in readers.items():
        peak_reset()
        before = resident(field="VmRSS")
        trouble = _trouble(read, path, outcome.accepted, name)
        growth = resident(field="VmHWM") - before
        outcome.growth = max(outcome.growth, growth)
        if trouble and not outcome.kind:
            outcome.kind, outcome.trouble = "error", f"{name}: {trouble}"
        if growth > most_growth and not outcome.kind:
            outcome.kind, outcome.trouble = "memory", f"{name}: memory\n{growth:,} bytes more"
    outcome.seconds = time.monotonic() - began
    if left := _cleaned(sample, folder):
        outcome.kind, outcome.trouble = "error", f"files left behind\n{left}"
    return outcome


def _trouble(read: Reader, path: Path, accepted: list[str], name: str) -> str:
    try:
        try:
            read(path)
            accepted.append(name)
        except TicketkitError as error:
            check_message(error, path.name)
    except BaseException as error:  # noqa: BLE001  a SystemExit is a finding too
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = "".join(traceback.format_exception(error, limit=-12, chain=False))
        place = f"{frame.name} of {Path(frame.filename).name}"
        said = str(error).partition(":")[0] if isinstance(error, AssertionError) else place
        return f"{type(error).__name__}: {said}\n{text}"
    return ""


def _cleaned(sample: Sample, folder: Path) -> list[str]:
    """Remove the sample's files; the names of others that a reader left, removed as well."""
    left = []
    for path in sorted(folder.rglob("*"), reverse=True):
        name = path.relative_to(folder).as_posix()
        if name != sample.name and name not in sample.files:
            left.append(name)
        path.rmdir() if path.is_dir() else path.unlink()
    return left
