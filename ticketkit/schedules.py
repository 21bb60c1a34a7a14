"""The schedule of a training: how long, how fast, on which batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin, get_type_hints

from ticketkit.errors import UsageError


@dataclass(frozen=True)
class Schedule:
    """How a network is trained, by SGD with momentum unless another optimizer is named.

    `ticketkit.fit` takes one, or a spec string: the name of a preset and what differs from it, such
    as `"paper:lr=0.01,epochs=30"`, or these fields alone, as in `"epochs=3,lr=0.05"`.
    """

    epochs: int = 0
    """Passes over the data; or 0, and `steps` are counted instead."""
    steps: int = 0
    """Batches in all, where the training is not counted in epochs."""
    batch: int = 64
    """Pictures of one step, all processes together."""
    optimizer: str = "sgd"
    """The name of an optimizer in torch.optim, in any case, such as `adam`."""
    lr: float = 0.1
    """The highest learning rate."""
    momentum: float = 0.9
    """For optimizers that have one; so are `nesterov` and `weight_decay`."""
    nesterov: bool = False
    weight_decay: float = 1e-4
    decays: Literal["all", "matrices"] = "all"
    """What weight decay shrinks: every parameter, or those of two and more dimensions. The scores
    of a mask have as many as the weights that they are of."""
    decay: Literal["steps", "cosine"] = "steps"
    """How the learning rate falls: to a tenth at each milestone, or to 0 along a cosine."""
    milestones: tuple[int, ...] = ()
    """In epochs, or in steps where these are counted."""
    warmup: float = 0.0
    """The share of the training over which the learning rate rises from 0."""
    ramp: float = 0.0
    """The share of the training over which a perturbation grows from 5 % to its full strength."""
    augment: Literal["none", "shift", "crop"] = "none"
    """`shift`: by up to one pixel each way. `crop`: a random part, resized to `size`, or its mirror
    image; evaluation takes the middle."""
    size: int = 0
    """The side of the pictures in pixels, for `crop`; 0: as they are."""
    batchnorm: Literal["train", "eval", "recalibrate"] = "train"
    """The policy of BatchNorm's statistics: they move in training, stay as they are, or are
    estimated anew on the training pictures first, without labels, and then stay."""
    precision: Literal["fp32", "bf16"] = "fp32"
    solver: Literal["sgd", "newton"] = "sgd"
    """`newton`: a linear evaluation on features that are extracted once."""
    l2: float = 1e-3
    """The penalty on the squared weights, for `newton`."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if get_origin(hint) is Literal and value not in get_args(hint):
                raise UsageError(f"{name} is one of {', '.join(get_args(hint))}, found {value!r}")
            if hint is int and type(value) is not int:
                raise UsageError(f"{name} is a whole number, found {value!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{field.name} is a number from 0 on, found {value}")
        for kept, broken in self._rules():
            if not kept:
                raise UsageError(broken)

    def _rules(self) -> Iterator[tuple[bool, str]]:
        """What must hold, and what to say where it does not."""
        found = f"found epochs={self.epochs}, steps={self.steps}"
        if self.solver == "newton":
            yield (
                not self.epochs + self.steps,
                (f"newton runs until it converges: {found}; solver=sgd takes them"),
            )
        else:
            counted = (self.epochs > 0) != (self.steps > 0)
            yield counted, f"a schedule is counted in epochs or in steps: {found}"
        yield self.batch >= 1, f"batch is a number of pictures from 1 on, found {self.batch}"
        yield not self.nesterov or self.momentum > 0, "nesterov needs a momentum above 0"
        for name in ("warmup", "ramp"):
            share = getattr(self, name)
            yield share <= 1, f"{name} is a share of the training, in [0, 1], found {share}"
        rising = [0, *self.milestones] == sorted({0, *self.milestones})
        yield rising, f"milestones rise, from 1 on, found {self.milestones}"
        flat = self.decay == "steps" or not self.milestones
        yield flat, "milestones are for decay=steps: this schedule falls along a cosine"
        cropped = self.augment == "crop"
        yield cropped or not self.size, "size is for augment=crop: other pictures keep their size"

    def check_solver(self, *, linear: bool, plain: bool) -> None:
        """Raise a `UsageError` where this is no linear evaluation, natural and by cross-entropy."""
        if self.solver == "newton" and not (linear and plain):
            raise UsageError(
                "solver=newton is for a linear evaluation, natural and by cross-entropy: for "
                "others give solver=sgd, and epochs"
            )

    def total(self, batches: int) -> int:
        """How many batches the training takes, where an epoch has `batches`."""
        return self.steps or self.epochs * batches

    def rate(self, step: int, batches: int) -> float:
        """The learning rate at a step, counted from 0."""
        total = self.total(batches)
        rising = self.warmup * total
        if step < rising:
            return self.lr * (step + 1) / (rising + 1)
        if self.decay == "cosine":
            return self.lr * (1 + math.cos(math.pi * (step - rising) / (total - rising))) / 2
        unit = 1 if self.steps else batches
        return self.lr * 0.1 ** sum(step >= milestone * unit for milestone in self.milestones)

    def strength(self, progress: float) -> float:
        """The share of its full strength that a perturbation has at this progress, 0 to 1."""
        return 1.0 if progress >= self.ramp else 0.05 + 0.95 * progress / self.ramp
