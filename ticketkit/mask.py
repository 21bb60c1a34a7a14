"""The mask: which weights of which parameters are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ticketkit.bits import Bits, BlockBits, PackedBits, count, pack
from ticketkit.errors import InputError, MismatchError, near, printable, some

if TYPE_CHECKING:
    import torch

    from ticketkit.holding import Hold


class Mask(Mapping[str, "torch.Tensor"]):
    """An immutable mapping of parameter name to boolean keep-tensor, in code-point order of names.

    It holds one bit a weight, or one a block; `mask[name]` unpacks to a CPU bool tensor of the
    parameter's own shape, True where the weight is kept. Build one from boolean (or 0/1) tensors
    or arrays:

    >>> mask = Mask({"fc.weight": torch.tensor([[True, False], [False, False]])})
    >>> mask.sparsity
    0.75
    """

    def __init__(self, keeps: Mapping[str, Any]) -> None:
        packed = {name: _packed(name, keeps[name]) for name in sorted(keeps)}
        self._packed: dict[str, PackedBits | BlockBits] = packed

    def __getitem__(self, name: str) -> torch.Tensor:
        import torch

        return torch.from_numpy(self.packed(name).unpack())

    def __contains__(self, name: object) -> bool:
        return name in self._packed  # which unpacks nothing

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        # Shapes first: a code of few bytes may claim to be of any number of bits.
        return self.shapes == other.shapes and all(
            np.array_equal(entry.bits, other._packed[name].bits)
            for name, entry in self._packed.items()
        )

    def __hash__(self) -> int:
        return hash(tuple(self.shapes.items()))

    def __repr__(self) -> str:
        return f"Mask({len(self)} parameters, {self.size:,} weights, sparsity {self.sparsity:.6f})"

    def packed(self, name: str) -> PackedBits | BlockBits:
        """The packed bits of one parameter; a `KeyError` that names the near ones otherwise."""
        try:
            return self._packed[name]
        except KeyError:
            hint = near(name, self._packed)
            raise KeyError(f"no parameter {name!r} in this mask{hint}") from None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each masked parameter."""
        return {name: entry.shape for name, entry in self._packed.items()}

    @property
    def size(self) -> int:
        """Number of masked weights, kept or removed."""
        return sum(entry.size for entry in self._packed.values())

    @property
    def kept(self) -> int:
        """Number of weights kept."""
        return sum(entry.kept for entry in self._packed.values())

    @property
    def sparsity(self) -> float:
        """The fraction removed of all masked weights (0 for a mask of nothing)."""
        return 1 - self.kept / self.size if self.size else 0.0

    def layer_sparsity(self) -> dict[str, float]:
        """The fraction removed of each parameter (0 for one without weights)."""
        entries = self._packed.items()
        return {name: 1 - entry.kept / entry.size if entry.size else 0.0 for name, entry in entries}

    def __and__(self, other: Mask) -> Mask:
        """Keep what both keep."""
        if not isinstance(other, Mask):
            return NotImplemented
        return self._combined(other, np.bitwise_and)

    def __or__(self, other: Mask) -> Mask:
        """Keep what either keeps."""
        if not isinstance(other, Mask):
            return NotImplemented
        return self._combined(other, np.bitwise_or)

    def overlap(self, other: Mask) -> float:
        """Intersection over union of what is kept; 1 for two masks that keep nothing."""
        both = sum(self.kept_by_both(other).values())
        return _overlap(self.kept, other.kept, both)

    def layer_overlap(self, other: Mask) -> dict[str, float]:
        """Intersection over union of what is kept of each parameter; 1 where both keep nothing."""
        both = self.kept_by_both(other).items()
        return {n: _overlap(self.packed(n).kept, other.packed(n).kept, kept) for n, kept in both}

    def kept_by_both(self, other: Mask) -> dict[str, int]:
        """How many weights of each parameter both masks keep."""
        self._check_same(other)
        pairs = ((name, entry, other._packed[name]) for name, entry in self._packed.items())
        return {name: count(one.bits & two.bits) for name, one, two in pairs}

    def rename(self, prefix: str) -> Mask:
        """The same mask under `prefix + name`: to move a backbone's mask into a larger network."""
        return Mask({prefix + name: entry for name, entry in self._packed.items()})

    def apply_(self, model: torch.nn.Module | Mapping[str, torch.Tensor]) -> None:
        """Fill the removed weights with +0.0, in place, in a network or a state dict.

        A tied weight is masked once; for a state dict with a copy of it under another name, take
        `ticket.mask_for(state_dict)`, which knows both.

        Raises `MismatchError`, having changed nothing, where names or shapes differ.
        """
        import torch

        from ticketkit.zeroing import layout, zero_

        tensors = self.tensors_of(model)
        with torch.no_grad():
            for name, tensor in tensors.items():
                zero_(tensor, layout(self[name], tensor))

    def hold(self, model: torch.nn.Module, *optimizers: torch.optim.Optimizer) -> Hold:
        """Apply the mask now and keep the removed weights zero through training.

        Returns a handle: a context manager with `.remove()`. Pass every optimizer that updates
        the network; one made later can be added with `handle.add(optimizer)`.
        """
        from ticketkit.holding import Hold

        return Hold(self, model, optimizers)

    def tensors_of(
        self, model: torch.nn.Module | Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The tensors that this mask covers, by name; a `MismatchError` says what does not fit.

        Wrappers of torch.compile, DataParallel and DistributedDataParallel are seen through.
        """
        found = _tensors(model)
        self.check_fits({name: tuple(tensor.shape) for name, tensor in found.items()})
        return {name: found[name] for name in self}

    def check_fits(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise a `MismatchError` with up to five differences unless all names and shapes fit."""
        missing = [name for name in self if name not in shapes]
        wrong = [
            f"{name}: {list(shape)} in the mask, {list(shapes[name])} found"
            for name, shape in self.shapes.items()
            if name in shapes and tuple(shapes[name]) != shape
        ]
        if not missing and not wrong:
            return
        absent = [f"{name} (not found{near(name, shapes, count=1)})" for name in missing]
        raise MismatchError(
            f"the mask does not fit: of its {len(self)} parameters {len(missing)} are missing and "
            f"{len(wrong)} have another shape: {some(wrong + absent)}"
        )

    def _combined(self, other: Mask, operation: Callable[[Bits, Bits], Bits]) -> Mask:
        self._check_same(other)
        both = ((name, entry, other._packed[name]) for name, entry in self._packed.items())
        return Mask({name: PackedBits(a.shape, operation(a.bits, b.bits)) for name, a, b in both})

    def _check_same(self, other: Mask) -> None:
        """Raise a `MismatchError` that names the differences unless names and shapes agree."""
        ours, theirs = self.shapes, other.shapes
        if ours == theirs:
            return
        told = [
            f"{name}: {list(ours[name])} and {list(theirs[name])}"
            for name in ours
            if name in theirs and ours[name] != theirs[name]
        ]
        told += [f"{name}: in the first alone" for name in ours if name not in theirs]
        told += [f"{name}: in the second alone" for name in theirs if name not in ours]
        raise MismatchError(f"the masks cover different parameters: {some(told)}")


def _overlap(one: int, other: int, both: int) -> float:
    union = one + other - both
    return both / union if union else 1.0


def _packed(name: str, keep: Any) -> PackedBits | BlockBits:
    """Pack whatever was given as the keep-bits of one parameter."""
    if isinstance(keep, PackedBits | BlockBits):
        return keep
    array = _array(keep)
    if array.dtype != np.bool_:
        if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
            raise InputError(
                f"{printable(name)}: a mask is bool or 0 and 1; found other {array.dtype}"
            )
        array = array.astype(np.bool_)
    return PackedBits(tuple(array.shape), pack(array))


def _array(keep: Any) -> np.ndarray[Any, np.dtype[Any]]:
    if not hasattr(keep, "detach"):
        return np.asarray(keep)
    tensor = keep.detach().cpu()
    # NumPy knows neither bfloat16 nor the 8-bit floats.
    narrow = tensor.is_floating_point() and tensor.element_size() < 4
    return np.asarray(tensor.float() if narrow else tensor)


def _tensors(
    model: torch.nn.Module | Mapping[str, torch.Tensor],
) -> Mapping[str, torch.Tensor]:
    import torch

    if isinstance(model, Mapping):
        return {name: value for name, value in model.items() if torch.is_tensor(value)}
    return dict(unwrap(model).named_parameters(remove_duplicate=False))


def unwrap(model: torch.nn.Module) -> torch.nn.Module:
    """The network inside wrappers that only add a prefix to its parameter names."""
    import torch

    wrappers = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, wrappers):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), torch.nn.Module):
            model = inner
        else:
            return model
