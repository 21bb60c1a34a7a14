"""Parameters that are computed from other tensors, known by the names of those."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UTILS = "torch.nn.utils."
_SCORES = "'ticketkit import', which reads the mask that such scores stand for"
# What a tensor is called, how the name of its partner ends, and the call that undoes it.
_KNOWN = [
    (r"(.*)_orig", "_mask", "prune.remove ('ticketkit import' reads such masks)"),
    (r"(.*)\.scores", ".weight", _SCORES),
    (r"(.*)_orig", "_u", "remove_spectral_norm"),
    (r"(.*weight[^.]*)_g", "_v", "remove_weight_norm"),
    (r"(.*weight[^.]*)_v", "_g", "remove_weight_norm"),
    (r"((?:.*\.)?parametrizations\.[^.]+\.original\d*)", "", "parametrize.remove_parametrizations"),
]


def computed_from(names: Iterable[str]) -> dict[str, str]:
    """The tensors that a parameter is computed from, among all names of a file or a network.

    Each with the call of torch that puts the parameter itself in their place.
    """
    known = dict.fromkeys(names)  # in their order
    found: dict[str, str] = {}
    for pattern, partner, call in _KNOWN:
        for name in known:
            match = re.fullmatch(pattern, name)
            if match and match[1] + partner in known:
                found.setdefault(name, call if call is _SCORES else _UTILS + call)
    return found
