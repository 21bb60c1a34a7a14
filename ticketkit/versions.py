"""The versions of what took part: enough to install the same again."""

from __future__ import annotations

import ticketkit
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
