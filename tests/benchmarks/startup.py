"""Group G: how soon the command line answers, as a whole process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

from tests.benchmarks.measure import Line, Result, in_turn, timed
from tests.benchmarks.networks import Scale

_OURS = "import sys; from ticketkit.cli import main; sys.exit(main())"
_BARE = """import click
group = click.version_option("1")(click.group()(lambda: None))
group.command("one")(lambda: None); group()"""
_HEAVY = """import sys; from ticketkit.cli import main; main()
sys.exit(sum(name in sys.modules for name in ("torch", "numpy")))"""
_ARGUMENTS = {"--help": 0, "--version": 0, "nonsense": 2}


def answer_rows(scale: Scale) -> Iterator[Result]:
    """G1: help, version and bad usage against a click group of one empty command."""
    runs = 1 if scale.runs == 1 else 15
    for argument, status in _ARGUMENTS.items():
        ours, bare = in_turn(
            runs, _process(_OURS, argument, status), _process(_BARE, argument, status)
        )
        yield timed("G1", f"ticketkit {argument}, against a bare click group", ours, bare, 1.5)
    heavy = sum(_run(_HEAVY, argument) for argument in _ARGUMENTS)
    yield Line("G1", "torch and numpy in sys.modules after these", heavy, 0, "", heavy, 0, sign="")


def _process(program: str, argument: str, status: int) -> Callable[[], object]:
    def run() -> None:
        found = _run(program, argument)
        assert found == status, f"{argument}: exit status {found}"

    return run


def _run(program: str, argument: str) -> int:
    command = [sys.executable, "-c", program, argument]
    return subprocess.run(command, check=False, capture_output=True).returncode
