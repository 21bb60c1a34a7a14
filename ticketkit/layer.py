"""A prunable parameter, and the one view of it that every part sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch

Array = TypeVar("Array", "torch.Tensor", "np.ndarray[Any, Any]")


@dataclass(frozen=True)
class Layer:
    """One prunable parameter: its name and its shape as presented to the parts.

    The presented shape is (out, in/groups, *kernel) for every kind of layer; positions and ties
    are counted in C order of that view. `transposed` is the number of groups of a transposed
    convolution, whose own shape is (in, out/groups, *kernel), and None for everything else.
    """

    name: str
    shape: tuple[int, ...]
    transposed: int | None = None

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def own_shape(self) -> tuple[int, ...]:
        """The parameter's own shape."""
        if self.transposed is None:
            return self.shape
        outputs, inputs, *kernel = self.shape
        return (inputs * self.transposed, outputs // self.transposed, *kernel)

    def present(self, weight: Array) -> Array:
        """The (out, in/groups, *kernel) view of a tensor or array in the parameter's own shape."""
        if self.transposed is None:
            return weight
        outputs, inputs, *kernel = self.shape
        split = weight.reshape(self.transposed, inputs, outputs // self.transposed, *kernel)
        return split.swapaxes(1, 2).reshape(self.shape)

    def restore(self, presented: Array) -> Array:
        """The inverse of `present`."""
        if self.transposed is None:
            return presented
        outputs, inputs, *kernel = self.shape
        split = presented.reshape(self.transposed, outputs // self.transposed, inputs, *kernel)
        return split.swapaxes(1, 2).reshape(self.own_shape)

    @classmethod
    def of(cls, name: str, own: tuple[int, ...], transposed: int | None = None) -> Layer:
        """The layer of a parameter whose own shape is `own`."""
        if transposed is None:
            return cls(name, tuple(own))
        inputs, outputs, *kernel = own
        return cls(name, (outputs * transposed, inputs // transposed, *kernel), transposed)
