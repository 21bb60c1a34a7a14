"""Measures what PERFORMANCE sets goals for: `python -m tests.benchmarks [ROW ...] [--json FILE]`.

Every goal is a ratio to a floor, or to a peer, that is measured in turn with ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from tests.benchmarks import (
    attack,
    certify,
    draw,
    encode,
    evaluate,
    hold,
    learn,
    rounds,
    startup,
    stream,
)
from tests.benchmarks.measure import Line, Result, table
from tests.benchmarks.networks import FULL, Scale

ROWS: dict[str, Callable[[Scale], Iterator[Result]]] = {
    "A1": draw.draw_rows,
    "A2": draw.large_rows,
    "A3": draw.memory_rows,
    "A4": draw.worst_rows,
    "A5": stream.draw_rows,
    "A6": stream.prune_rows,
    "B1": encode.size_rows,
    "B2": encode.values_rows,
    "B3": encode.time_rows,
    "C1": hold.step_rows,
    "C2": hold.kept_rows,
    "C3": learn.step_rows,
    "C4": rounds.overhead_rows,
    "D1": attack.pgd_rows,
    "D2": attack.half_rows,
    "D3": attack.cheap_rows,
    "F1": certify.throughput_rows,
    "F2": evaluate.outputs_rows,
    "G1": startup.answer_rows,
}


def main(arguments: Sequence[str] | None = None, scale: Scale = FULL) -> None:
    """Measure the rows asked for, and print them."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all if none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    asked = parser.parse_args(arguments)
    if unknown := sorted(set(asked.rows) - set(ROWS)):
        parser.error(f"no row {', '.join(unknown)}; choose from {', '.join(ROWS)}")
    results = [result for row in asked.rows or ROWS for result in _measured(row, scale)]
    print(", ".join(f"{key} {value}" for key, value in _machine().items()))
    print(table(results))
    if asked.json:
        figures = {"machine": _machine(), "results": [_figures(result) for result in results]}
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _measured(row: str, scale: Scale) -> list[Result]:
    print(f"measuring {row} ...", file=sys.stderr)
    return list(ROWS[row](scale))


def _machine() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _figures(result: Result) -> dict[str, object]:
    passed = {"passed": result.passed} if isinstance(result, Line) else {}
    return {"kind": type(result).__name__.lower(), **asdict(result), **passed}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
