"""Virtual environments of their own for tests of installation, made without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

HIDDEN = ("PYTHON", "PIP_", "TICKETKIT_", "VIRTUAL_ENV", "PYTEST_")


class Environment:
    """A virtual environment that sees the packages of the running one, after its own.

    `editable`: whether it follows the running one's path files too, editable installs among them.
    """

    def __init__(self, folder: Path, *, editable: bool) -> None:
        self.folder = folder
        system = ["--system-site-packages"] if editable else []
        run(sys.executable, "-m", "venv", "--without-pip", *system, str(folder))
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        self.purelib = Path(
            self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        )
        seen = sysconfig.get_path("purelib")
        # A bare line adds a folder to the path; addsitedir reads the path files in it as well.
        line = f"import site; site.addsitedir({seen!r})" if editable else seen
        (self.purelib / "beside.pth").write_text(line + "\n", encoding="utf-8")

    def run(self, *arguments: object, cwd: Path | None = None) -> str:
        """Run this environment's Python; what it prints."""
        return run(str(self.python), *map(str, arguments), cwd=cwd or self.folder)

    def install(self, *what: Path) -> None:
        """Install wheels or source trees plainly, and nothing that they depend on."""
        options = ["--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed"]
        self.run("-m", "pip", "install", "--quiet", *options, *what)

    def file_of(self, module: str) -> Path:
        """Where a module is imported from."""
        return Path(self.run("-c", f"import {module}; print({module}.__file__)").strip())


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command apart from the settings of this process; what it prints."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith(HIDDEN)}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert not done.returncode, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
