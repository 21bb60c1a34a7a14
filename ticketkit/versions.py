"""The versions of what took part: enough to install the same again."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import ticketkit
from ticketkit.files import sha256
from ticketkit.parts import Part
from ticketkit.registry import catalogue

_INSTALLED = {"site-packages", "dist-packages"}


def versions_of(*parts: Part | None) -> dict[str, str]:
    """The version of ticketkit, torch and NumPy, and of each distribution that a part is from."""
    import numpy as np
    import torch

    found = {"ticketkit": ticketkit.__version__, "torch": str(torch.__version__)}
    found["numpy"] = np.__version__
    for part in parts:
        if part is not None and (offer := catalogue().of(part)):
            found[offer.plugin.distribution] = offer.plugin.version
    return found


def code_here() -> dict[str, str]:
    """A SHA-256 of each package or module that was imported from outside of the libraries.

    No version tells of edits to them: plugins that are being written, `module:Class` and what they
    import, whatever is installed as editable.
    """
    found = {}
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        if "." in name or name == "__main__" or path.suffix != ".py" or _is_library(path):
            continue
        files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
        found[name] = sha256(*(each.read_bytes() for each in files if each.is_file()))
    return found


def _is_library(path: Path) -> bool:
    """Whether a file was installed, or is Python's own: its version tells of it."""
    standard = Path(sysconfig.get_path("stdlib"))
    return path.is_relative_to(standard) or not _INSTALLED.isdisjoint(path.parts)
