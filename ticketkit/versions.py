"""The versions of what took part: enough to install the same again."""

from __future__ import annotations

import sys
from pathlib import Path

import ticketkit
from ticketkit.files import sha256
from ticketkit.parts import Part
from ticketkit.registry import catalogue


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


def code_of(*parts: Part) -> dict[str, str]:
    """The SHA-256 of each module that a part is written in: versions do not tell of edits."""
    found = {}
    for module in {type(part).__module__ for part in parts}:
        file = getattr(sys.modules.get(module), "__file__", None)
        if file and Path(file).is_file():
            found[module] = sha256(Path(file).read_bytes())
    return found
