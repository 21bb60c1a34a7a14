"""A process that reads mutants one after the other, and its watch: what it cannot tell of itself
any more, a crash, a hang, memory without end, its parent tells."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.corpus import Sample
from tests.fuzz.examine import Outcome, examine
from tests.fuzz.memory import resident
from tests.fuzz.mutation import mutant
from tests.fuzz.readers import Reader

# Spawned, not forked: the parent may be pytest with threads of its own.
_CONTEXT = multiprocessing.get_context("spawn")
_START = 120.0
_LOOK = 0.05


@dataclass(frozen=True)
class Plan:
    """Which mutants are read, in order: one of each sample, then the next one of each."""

    samples: Sequence[Sample]
    readers: Mapping[str, Reader]
    seed: int = 0
    most_growth: int = 200 * 10**6
    """Bytes of memory that an input may cost."""
    most_seconds: float = 20
    """Seconds that an input may take."""

    def input(self, number: int) -> Sample:
        """The input of this number."""
        round_, index = divmod(number, len(self.samples))
        return mutant(self.samples[index], self.seed, round_)


def outcomes(plan: Plan, count: int) -> Iterator[Outcome]:
    """What became of the first `count` inputs. A worker that ends is replaced by another."""
    number = 0
    while number < count:
        with _worker(plan, number, count) as worker:
            while number < count and not worker.ended:
                yield worker.outcome()
                number += 1


@dataclass
class _Worker:
    plan: Plan
    process: multiprocessing.process.BaseProcess
    connection: Connection
    held: int = 0
    ended: bool = False

    def outcome(self) -> Outcome:
        """The next outcome; the process has ended where it is a hang, a crash, or memory."""
        began = time.monotonic()
        while not self.connection.poll(_LOOK):
            grown = resident(self.process.pid or 0) - self.held
            if grown > self.plan.most_growth:
                return self._ended(Outcome([], 0, grown, "memory", f"memory\n{grown:,} bytes"))
            if (seconds := time.monotonic() - began) > self.plan.most_seconds:
                return self._ended(Outcome([], seconds, 0, "hang", f"hang\n{seconds:.1f} s"))
        try:
            found: Outcome = self.connection.recv()
        except EOFError:
            self.process.join()
            status = self.process.exitcode
            return self._ended(Outcome([], 0, 0, "crash", f"crash with exit status {status}"))
        return found

    def _ended(self, outcome: Outcome) -> Outcome:
        self.process.kill()
        self.ended = True
        return outcome


@contextlib.contextmanager
def _worker(plan: Plan, start: int, stop: int) -> Iterator[_Worker]:
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, ours:
        arguments = (plan, range(start, stop), Path(folder), theirs)
        process = _CONTEXT.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()  # so that its end is heard when the process dies
        try:
            if not ours.poll(_START):
                raise TimeoutError("the worker did not get through the unharmed samples")
            ours.recv()
            yield _Worker(plan, process, ours, resident(process.pid or 0))
        finally:
            process.kill()
            process.join()


def _work(plan: Plan, numbers: range, folder: Path, connection: Connection) -> None:
    warnings.simplefilter("error")  # a damaged file is no reason to warn
    os.chdir(folder)  # where code in a file would leave its mark
    for sample in plan.samples:  # so that what is loaded once is loaded
        examine(sample, plan.readers, folder, plan.most_growth)
    connection.send(None)
    for number in numbers:
        connection.send(examine(plan.input(number), plan.readers, folder, plan.most_growth))
