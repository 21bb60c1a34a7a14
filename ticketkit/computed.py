"""Parameters that are computed from other tensors, known by the names of those."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UTILS = "torch.nn.utils."
# What a tensor is called, how the name of its partner ends, and what undoes it.
_KNOWN = [
    (r"(.*)_orig", "_mask", f"{_UTILS}prune.remove ('ticketkit import' reads such masks)"),
    (
        r"(.*)\.scores",
        ".weight",
        "'ticketkit import', which reads the mask that such scores stand for",
    ),
    (r"(.*)_orig", "_u", f"{_UTILS}remove_spectral_norm"),
    (r"(.*weight[^.]*)_g", "_v", f"{_UTILS}remove_weight_norm"),
    (r"(.*weight[^.]*)_v", "_g", f"{_UTILS}remove_weight_norm"),
    (
        r"((?:.*\.)?parametrizations\.[^.]+\.original\d*)",
        "",
        f"{_UTILS}parametrize.remove_parametrizations",
    ),
]


def computed_from(names: Iterable[str]) -> dict[str, str]:
    """The tensors that a parameter is computed from, among all names of a file or a network.

    Each with what puts the parameter itself in their place.
    """
    known = dict.fromkeys(names)  # in their order
    found: dict[str, str] = {}
    for pattern, partner, call in _KNOWN:
        for name in known:
            match = re.fullmatch(pattern, name)
            if match and match[1] + partner in known:
                found.setdefault(name, call)
    return found
