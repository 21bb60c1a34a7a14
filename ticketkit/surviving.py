"""The surviving values of a masked parameter, bit by bit, in byte planes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ticketkit.bits import Bits, BlockBits, PackedBits
from ticketkit.checkpoint import Checkpoint
from ticketkit.errors import InputError, WeightsError, printable, some
from ticketkit.mask import Mask
from ticketkit.tensorfile import DTYPES, itemsize
from ticketkit.tiling import Booleans

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Values:
    """The surviving values of one parameter, in C order of its own shape.

    Plane b holds byte b, the lowest first, of every value: bytes that mean the same lie together,
    which is what lets a compressor find that exponents are alike. The real part of a complex
    number comes before its imaginary part.
    """

    dtype: str
    """As safetensors names it: `"F32"`."""
    planes: Bits
    """Bytes of shape (bytes of a value, values)."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            shown = printable(str(self.dtype), 40)
            raise InputError(f"values of dtype {shown} are not supported")
        width = itemsize(self.dtype)
        if self.planes.ndim != 2 or len(self.planes) != width:
            found = list(self.planes.shape)
            raise InputError(f"expected {width} planes of bytes for {self.dtype}, found {found}")
        self.planes.flags.writeable = False

    @classmethod
    def of(cls, dtype: str, raw: np.ndarray[Any, Any], keep: Booleans) -> Values:
        """The values of a tensor, told by its bits, where `keep` is true."""
        numbers = np.ascontiguousarray(raw).reshape(-1).view(_number(dtype))
        survivors = numbers[keep.reshape(-1)].view(np.uint8).reshape(-1, itemsize(dtype))
        return cls(dtype, np.ascontiguousarray(survivors.T))

    @property
    def count(self) -> int:
        """Number of values."""
        return int(self.planes.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.planes.nbytes

    @property
    def raw(self) -> bytes:
        """The values' own bytes, one value after the other."""
        return self.planes.T.tobytes()

    def among_zeros(self, keep: Booleans) -> Bits:
        """The bytes of the whole parameter: the values where `keep` is true, elsewhere zeros."""
        numbers = np.zeros(keep.size, _number(self.dtype))
        numbers[keep.reshape(-1)] = np.frombuffer(self.raw, numbers.dtype)
        return numbers.view(np.uint8)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Values):
            return NotImplemented
        return self.dtype == other.dtype and np.array_equal(self.planes, other.planes)

    def __hash__(self) -> int:
        return hash((self.dtype, self.count))

    def __repr__(self) -> str:
        return f"Values({self.count:,} of {self.dtype})"


def values_of(
    mask: Mask, source: torch.nn.Module | Mapping[str, torch.Tensor]
) -> dict[str, Values]:
    """The values of a network, a state dict or a checkpoint that survive a mask.

    Raises a `MismatchError` where names or shapes differ, a `WeightsError` for a tensor that has
    no plain values.
    """
    if isinstance(source, Checkpoint):
        mask.check_fits(source.shapes)
        told = ((source.dtypes[name], source.raw(name)) for name in mask)
    else:
        tensors = mask.tensors_of(source)
        told = (_told(name, tensors[name]) for name in mask)
    return {n: _values(n, *each, mask.packed(n)) for n, each in zip(mask, told, strict=True)}


def check_values(mask: Mask, values: Mapping[str, Values]) -> None:
    """Raise an `InputError` unless there are values of every masked parameter, or of none."""
    if not values:
        return
    if odd := sorted(set(values) ^ set(mask)):
        raise InputError(f"expected values of every masked parameter, found others: {some(odd)}")
    for name, found in values.items():
        kept = mask.packed(name).kept
        if found.count != kept:
            raise InputError(
                f"{printable(name)}: {kept:,} weights kept by its bits, {found.count:,} values"
            )


def tensor_of(values: Values, packed: PackedBits | BlockBits) -> torch.Tensor:
    """The parameter: the values where it is kept, elsewhere +0.0."""
    import torch

    whole = torch.from_numpy(values.among_zeros(packed.unpack()))
    return whole.view(getattr(torch, DTYPES[values.dtype])).reshape(packed.shape)


def _values(
    name: str, dtype: str, raw: np.ndarray[Any, Any], packed: PackedBits | BlockBits
) -> Values:
    if dtype not in DTYPES or raw.nbytes != packed.size * itemsize(dtype):
        raise WeightsError(f"{printable(name)}: values of dtype {dtype} are not supported")
    return Values.of(dtype, raw, packed.unpack())


def _told(name: str, tensor: torch.Tensor) -> tuple[str, np.ndarray[Any, Any]]:
    from ticketkit.torchfile import dtype_name, raw_of_plain

    return dtype_name(tensor), raw_of_plain(name, tensor)


def _number(dtype: str) -> np.dtype[Any]:
    """As many bytes as a value has, whatever they mean."""
    return np.dtype(f"V{itemsize(dtype)}")
