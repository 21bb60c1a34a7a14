"""`ticketkit --version`."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import torch

import ticketkit
from tests.cli.conftest import Cli
from tests.plugin_factory import STRIPE, install
from tests.samples import run


def test_the_version_is_one_line(cli: Cli) -> None:
    assert cli("--version").out == f"ticketkit {ticketkit.__version__}\n"


def test_the_verbose_version_tells_all_that_a_report_needs(cli: Cli) -> None:
    for arguments in (["--version", "-v"], ["-v", "--version"], ["--version", "--verbose"]):
        lines = cli(*arguments).out.splitlines()
        assert lines[0] == f"ticketkit {ticketkit.__version__}"
        assert lines[1] == f"python {platform.python_version()}"
        assert lines[2] == f"platform {platform.platform()}"
        assert f"torch {torch.__version__.partition('+')[0]}" in "\n".join(lines)


def test_distributions_with_plugins_are_told_too(tmp_path: Path) -> None:
    install(tmp_path, "plug-a", "plug_a", STRIPE.format(part="stripe"), version="3.2.1")
    done = run("--version", "-v", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.stdout.splitlines()[-1] == "plug-a 3.2.1"


def test_it_loads_nothing_heavy() -> None:
    code = (
        "import sys; from ticketkit.cli import main; main(sys.argv[1:])\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    for arguments in (["--version"], ["--version", "-v"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
