"""A file in the form of the FID's weights, whose numbers are random."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch_fidelity import FeatureExtractorInceptionV3


class _Unloaded(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """torch-fidelity's network, as it is before it loads weights."""

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Stay random."""


def save_inception(path: Path, seed: int = 0) -> Path:
    """Write 566 tensors of the right names and shapes; the path."""
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _Unloaded("inception", ["2048"], feature_extractor_weights_path=nothing)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # so that no layer's outputs vanish
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path
