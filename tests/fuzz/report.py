"""What a run found: counts, and each finding's input in a folder of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.examine import Outcome
from tests.fuzz.worker import Plan

FINDINGS = Path(__file__).parent / "findings"
# Inputs kept of findings that seem to have one cause.
_KEPT = 3


@dataclass
class Report:
    """The figures of a run so far."""

    plan: Plan
    folder: Path = FINDINGS
    inputs: int = 0
    growth: int = 0
    slowest: float = 0
    accepted: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    """How often each first line of trouble was met."""
    saved: list[Path] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def take(self, outcomes: Iterable[Outcome], seconds: float | None = None) -> Report:
        """Count outcomes, and keep the inputs of findings; stop after so many seconds."""
        for outcome in outcomes:
            self._add(outcome)
            if seconds is not None and time.monotonic() - self._began > seconds:
                break
        return self

    def __str__(self) -> str:
        seconds = time.monotonic() - self._began
        passed = ", ".join(f"{name} {count:,}" for name, count in self.accepted.items())
        lines = [
            f"{self.inputs:,} mutations in {seconds:.0f} s, {self.inputs / seconds:.0f} a second",
            f"accepted by: {passed or 'none'}",
            f"peak memory growth {self.growth / 1e6:.1f} MB, slowest input {self.slowest:.2f} s",
            f"{self.causes.total():,} findings of {len(self.causes)} causes",
            *(f"  {count:,} x {cause}" for cause, count in self.causes.most_common()),
            *(f"  saved {path}" for path in self.saved),
        ]
        return "\n".join(lines)

    def _add(self, outcome: Outcome) -> None:
        number = self.inputs
        self.inputs += 1
        self.growth = max(self.growth, outcome.growth)
        self.slowest = max(self.slowest, outcome.seconds)
        self.accepted.update(outcome.accepted)
        if outcome.kind:
            cause = outcome.trouble.partition("\n")[0]
            self.causes[cause] += 1
            if self.causes[cause] <= _KEPT:
                self.saved.append(self._save(number, outcome))

    def _save(self, number: int, outcome: Outcome) -> Path:
        sample = self.plan.input(number)
        folder = self.folder / f"{outcome.kind}-seed{self.plan.seed}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        sample.write(folder)
        seed = f"--seed {self.plan.seed}, input {number}, of {sample.name}\n"
        (folder / "WHY.txt").write_text(seed + outcome.trouble + "\n", encoding="utf-8")
        return folder
