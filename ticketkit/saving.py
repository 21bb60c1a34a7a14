"""Writing a network's weights: safetensors, and how they were pretrained in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ticketkit.errors import CheckpointError, some
from ticketkit.files import Output
from ticketkit.pretrained import PRETRAINING, Pretraining
from ticketkit.tensorfile import check_names, head_of, in_order
from ticketkit.torchfile import dtype_name, fits_safetensors, raw_of


def save_checkpoint(
    output: Output, state_dict: Mapping[str, Any], pretraining: Pretraining
) -> None:
    """Write a state dict, the same bytes for the same content; tied tensors once a name.

    `output` is reserved by `ticketkit.files.reserve`. Raises a `CheckpointError` that names what
    safetensors cannot hold, an `OutputError` where nothing can be written.
    """
    odd = [n for n, t in state_dict.items() if not torch.is_tensor(t) or not fits_safetensors(n, t)]
    if odd:
        raise CheckpointError(f"safetensors cannot hold {some(odd)}: expected dense tensors")
    check_names(output.path, state_dict)
    dtypes = {name: dtype_name(tensor) for name, tensor in state_dict.items()}
    names = in_order(dtypes)
    tensors = {n: (dtypes[n], tuple(state_dict[n].shape), state_dict[n].nbytes) for n in names}
    head = head_of(tensors, {"format": "pt", PRETRAINING: pretraining.text()})
    with output.writing(len(head) + sum(size for _, _, size in tensors.values())) as file:
        file.write(head)
        for name in names:
            file.write(raw_of(state_dict[name]).reshape(-1).data)
