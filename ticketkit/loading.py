"""Reading what torch.save wrote, without letting it run code."""

from __future__ import annotations

import math
import os
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ticketkit.archive import globals_of, stored_bytes
from ticketkit.claims import check_claims
from ticketkit.errors import CheckpointError, printable, some

# Sides of a tensor without elements may be of any length, for torch.
_TOO_LARGE = 2**62
# The number that opens a legacy file, as its first pickle has it.
_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19."
# How torch's reader of weights complains of what opens a pickle of protocol 4 or newer.
_FRAME = "Unsupported operand 149"
# What a file of weights may ask for, beside the functions that rebuild tensors.
_ALLOWED = {
    "_codecs.encode",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "builtins.bytearray",
    "builtins.complex",
    "builtins.set",
    "collections.Counter",
    "collections.OrderedDict",
    "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
}


def load(path: Path, form: str) -> Any:
    """What torch.save was given; a `CheckpointError` where that needs code, or is not all there."""
    shown = printable(str(path))
    try:
        if form == "legacy":
            check_claims(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of dtypes and storages that old files are made of
            return _loaded(path, form)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{shown}: {_refusal(path, form, str(error))}") from None
    except (MemoryError, RecursionError) as error:
        raise CheckpointError(f"{shown}: too large or too deep to read: {error}") from None
    except (EOFError, IndexError, struct.error):
        raise CheckpointError(f"{shown}: {_damaged('it ends in the middle')}") from None
    except Exception as error:  # noqa: BLE001  torch.load raises many kinds on a damaged file
        if form == "legacy" and not _is_of_torch(path):
            raise CheckpointError(f"{shown}: a pickle, but not one of torch.save") from None
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        raise CheckpointError(f"{shown}: {_damaged(kind + str(error))}") from None


def _loaded(path: Path, form: str) -> Any:
    with torch.serialization.safe_globals(_numbers()):
        return _read(path, form)


def _numbers() -> list[Any]:
    """NumPy's scalars and their dtypes: checkpoints hold them as epochs and accuracies."""
    scalar = np.float64(0).__reduce__()[0]
    homes = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    kinds = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdFD"]
    return [np.dtype, *kinds, *((scalar, home) for home in homes)]


def _read(path: Path, form: str) -> Any:
    # torch maps a zip file by its name, which has to be UTF-8.
    if form == "zip" and os.fsencode(path).decode(errors="replace") == str(path):
        return torch.load(path, "cpu", weights_only=True, mmap=True)
    with path.open("rb") as file:
        return torch.load(file, "cpu", weights_only=True)


def check_storages(path: Path, form: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse tensors that claim more elements than the file holds for them."""
    shown = printable(str(path))
    storages: dict[int, int] = {}
    for name, tensor in tensors.items():
        if tensor.is_nested:
            raise CheckpointError(f"{shown}: {printable(name)}: a nested tensor has no one shape")
        if not is_plain(tensor):
            continue
        if math.prod(max(1, side) for side in tensor.shape) * tensor.element_size() >= _TOO_LARGE:
            raise CheckpointError(
                f"{shown}: {printable(name)}: shape {list(tensor.shape)} is that of no tensor"
            )
        claimed = tensor.numel() * tensor.element_size()
        storage = tensor.untyped_storage()
        if claimed > storage.nbytes():
            raise CheckpointError(
                f"{shown}: {printable(name)}: shape {list(tensor.shape)} claims {claimed:,} bytes, "
                f"but {storage.nbytes():,} are stored (an expanded tensor)"
            )
        storages[storage.data_ptr()] = storage.nbytes()
    # A storage that is mapped into memory may reach into its neighbours.
    if form == "zip" and (claimed := sum(storages.values())) > (stored := stored_bytes(path)):
        raise CheckpointError(
            f"{shown}: its tensors claim {claimed:,} bytes, but {stored:,} are stored"
        )


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether the tensor is numbers in memory: not sparse, quantised, or without values."""
    return not (tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized)


def _refusal(path: Path, form: str, error: str) -> str:
    """Why torch refused a pickle. Its own words advise to let the file run code."""
    asked = {name for name in globals_of(path) if not _is_known(name)}
    asked |= set(re.findall(r"GLOBAL ([\w.]+)", error)[:1])
    if asked:
        return (
            f"refused: to read it, code would have to run: it asks for {some(sorted(asked))}. "
            "Where it was made, save the weights alone: torch.save(model.state_dict(), PATH)"
        )
    if form == "legacy" and not _is_of_torch(path):
        return "a pickle, but not one of torch.save"
    if _FRAME in error:
        return (
            "a pickle of protocol 4 or newer, which torch does not read without letting it run "
            "code; where it was made, save it again: torch.save(model.state_dict(), PATH)"
        )
    return _damaged(error.rpartition("WeightsUnpickler error:")[2])


def _damaged(reason: str) -> str:
    first = printable(reason.strip().partition("\n")[0], 200).rstrip(".")
    return f"damaged or truncated: {first}; fetch it again"


def _is_known(name: str) -> bool:
    """Whether torch allows a file of weights to ask for this."""
    return (
        name.startswith(("torch._utils.", "torch.storage."))
        or (name.startswith("torch.") and name.count(".") == 1)
        or name.replace("__builtin__", "builtins") in _ALLOWED
    )


def _is_of_torch(path: Path) -> bool:
    with path.open("rb") as file:
        return _MAGIC in file.read(64)
