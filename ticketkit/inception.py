"""The Inception of the FID, as torch-fidelity has it, with weights that are read with care."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ticketkit.errors import MismatchError, printable
from ticketkit.extras import import_extra

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ticketkit.checkpoint import Checkpoint

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
"""What torch-fidelity calls the weights that TensorFlow published, from which FIDs are computed."""
PUBLISHED = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""The SHA-256 of that file."""


def hub_folder() -> Path:
    """The folder of torch.hub, to which torch-fidelity downloads."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or f"{cache}/torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def network_of_inception(checkpoint: Checkpoint) -> nn.Module:
    """The network with a checkpoint's weights; a `MismatchError` where these are others.

    It takes pictures in [0, 1], (batch, 3, height, width), and returns features (batch, 2048).
    torch-fidelity would load a file by itself, whatever that runs, or download it: so it is given,
    in memory, what was read with care.
    """
    import torch

    made = import_extra("torch_fidelity", "fid").FeatureExtractorInceptionV3
    file = io.BytesIO()
    torch.save(dict(checkpoint), file)
    file.seek(0)
    try:
        network: nn.Module = made("inception", ["2048"], feature_extractor_weights_path=file)
    except RuntimeError as error:
        told = printable(" ".join(str(error).split()), 300)
        raise MismatchError(
            f"{printable(str(checkpoint.path))}: not the weights of the FID's Inception: {told}"
        ) from None
    network.register_forward_pre_hook(_as_bytes)
    network.register_forward_hook(_alone)
    return network


def _as_bytes(network: nn.Module, arguments: tuple[Any, ...]) -> torch.Tensor:
    return (255 * arguments[0]).round().byte()  # type: ignore[no-any-return]


def _alone(network: nn.Module, arguments: tuple[Any, ...], features: Any) -> torch.Tensor:
    return features[0]  # type: ignore[no-any-return]
