"""Bars on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ticketkit.cli import bars
from ticketkit.cli.bars import amount

RUN = "from ticketkit.cli import bars, main; bars._LONG = 1; main(['prune', 'm.safetensors', *{}])"


@pytest.mark.parametrize(
    ("done", "total", "unit", "shown"),
    [
        (1.23e9, 4.3e9, "B", "1.2 of 4.3 GB"),
        (0, 1e8, "B", "0.0 of 0.1 GB"),
        (5.12e8, 2.147e9, "weights", "512 of 2,147 M weights"),
    ],
)
def test_an_amount_has_units(done: float, total: float, unit: str, shown: str) -> None:
    assert amount(done, total, unit) == shown


def on_a_terminal(folder: Path, *options: str) -> tuple[str, str]:
    """What `prune` prints on standard output, and on a standard error that is a terminal."""
    save_file({"a.weight": torch.randn(64, 64)}, folder / "m.safetensors")
    arguments = ["--sparsity", "0.5", *options]
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 2**16):
            shown += piece
    except OSError:  # the other end is closed, and all is read
        pass
    os.close(ours)
    return done.stdout, shown.decode()


def test_each_long_stage_has_a_bar_on_a_terminal(tmp_path: Path) -> None:
    out, shown = on_a_terminal(tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for stage in ("hashing", "ranking", "writing"):
        assert stage in plain
        assert stage not in out
    assert "of 0.0 GB" in plain
    assert "M weights" in plain
    assert plain.rstrip().splitlines()[-1].startswith("note: ")


def test_quiet_shows_none(tmp_path: Path) -> None:
    assert on_a_terminal(tmp_path, "--quiet") == ("", "")


def test_no_bar_where_standard_error_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bars, "_LONG", 1)
    from ticketkit.progress import stage

    with bars.bars(False), stage("hashing", 100) as advance:
        advance(100)
    assert capsys.readouterr() == ("", "")
