"""Gives damaged files to the readers; exit status 1 where anything but a refusal came out.

Inputs of findings are kept in tests/fuzz/findings. The same seed makes the same inputs, as long as
the files of the corpus are the same.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Sequence

from tests.fuzz.corpus import corpus
from tests.fuzz.readers import READERS
from tests.fuzz.report import Report
from tests.fuzz.worker import Plan, outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz as the command line says; the exit status."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--mutations", type=int, default=100_000, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other mutants")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after that many")
    parser.add_argument("--only", metavar="GLOB", default="*", help="of the corpus, files so named")
    asked = parser.parse_args(arguments)
    samples = [sample for sample in corpus() if fnmatch.fnmatch(sample.name, asked.only)]
    if not samples:
        names = ", ".join(sample.name for sample in corpus())
        parser.error(f"no file of the corpus is named {asked.only}; there are {names}")
    plan = Plan(samples, READERS, asked.seed)
    report = Report(plan).take(outcomes(plan, asked.mutations), asked.seconds)
    print(report)
    return 1 if report.causes else 0


if __name__ == "__main__":
    sys.exit(main())
