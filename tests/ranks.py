"""Several processes that train together, started as torchrun starts them, or by it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Rank(NamedTuple):
    """What one of the processes came to."""

    status: int
    out: str
    err: str


def start(arguments: Sequence[object], cwd: Path, size: int = 2) -> list[subprocess.Popen[str]]:
    """`python ARGUMENTS` as `size` processes that know of one another."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = {**environment(), "WORLD_SIZE": f"{size}", "MASTER_ADDR": "127.0.0.1"}
    return [
        _process(
            [sys.executable, *map(str, arguments)],
            cwd,
            {**one, "MASTER_PORT": f"{port}", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"},
        )
        for rank in range(size)
    ]


def torchrun(arguments: Sequence[object], cwd: Path, size: int = 2) -> subprocess.Popen[str]:
    """`torchrun -m -- ticketkit ARGUMENTS`, on a port of its own choice.

    Without the two dashes torchrun takes --run for an abbreviation of an option of its own.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", f"{size}"]
    command = [sys.executable, *launcher, "-m", "--", "ticketkit", *map(str, arguments)]
    return _process(command, cwd, environment())


def ended(processes: Sequence[subprocess.Popen[str]], seconds: float = 180) -> list[Rank]:
    """What they came to; none outlives the call."""
    try:
        texts = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [Rank(process.returncode, *text) for process, text in zip(processes, texts, strict=True)]


def environment() -> dict[str, str]:
    """One thread each: they share the processors."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def _process(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=True)
