"""Projected gradient ascent in pixel space, from a network that is left as it was.

Madry et al. 2018, arXiv 1706.06083. Gradients are those of the inputs alone, in eval mode.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ticketkit.balls import Generators, direction, nearest, start
from ticketkit.errors import (
    InputError,
    TicketkitError,
    UsageError,
    is_out_of_memory,
    printable,
)
from ticketkit.losses import check_scalar, cross_entropies, cross_entropy
from ticketkit.mask import unwrap
from ticketkit.modes import evaluating, same_generators
from ticketkit.threats import ThreatModel

if TYPE_CHECKING:
    from ticketkit.parts import Loss


def attack(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    targets: Any,
    threat: ThreatModel,
    *,
    loss: Loss | None = None,
    generator: Generators | None = None,
) -> torch.Tensor:
    """Inputs within the threat's ball around `inputs`, and in [0, 1], at which the loss is high.

    `inputs` are pictures in [0, 1], shape (batch, ...): see `check_pixels`. `loss(outputs,
    targets)` is a mean over the batch: by default the cross-entropy, in segmentation, where
    `targets` are (batch, height, width), over pixels that are not 255. With restarts a given loss
    is asked about each example by itself, so outputs and targets are tensors with a row for each.

    Random starts come from `generator`, on any device, or from one that is seeded by 0; with a list
    of them, one an example, no other examples of the batch change where one starts. The network is
    in eval mode meanwhile, seen through wrappers such as DistributedDataParallel. Its modes,
    gradients and statistics and torch's own generators stay as they were; autocast is as the caller
    has it. What the gradient does not tell, NaN or zero, moves nothing.
    """
    check_pixels(inputs)
    if threat.is_clean or not inputs.numel():
        return inputs.detach().clone()
    model = unwrap(model)
    with _undisturbed(model, inputs):
        # Steps within a ball are finer than half precision.
        clean = _plain(inputs).to(torch.promote_types(inputs.dtype, torch.float32))
        if generator is None:
            generator = torch.Generator().manual_seed(0)
        elif not isinstance(generator, torch.Generator) and len(generator) != len(inputs):
            raise UsageError(
                f"generators are one an example, found {len(generator)} for {len(inputs)}"
            )
        search = _Search(model, clean, inputs.dtype, _plain(targets), threat, loss)
        return search.best(generator).to(inputs.dtype)


def check_pixels(inputs: torch.Tensor) -> None:
    """Raise an `InputError` unless these are pictures as attacks need them: floating, in [0, 1].

    So is what it finds in a batch that was normalised already: the network has to do that.
    """
    hint = "the network normalises by itself: ticketkit.normalised(model, mean, std)"
    if not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        found = getattr(inputs, "dtype", type(inputs).__name__)
        raise InputError(f"inputs are floating pixels in [0, 1], found {found}; {hint}")
    if inputs.dim() < 2:
        raise InputError(f"inputs are a batch of pictures, found shape {list(inputs.shape)}")
    if not inputs.numel():
        return
    low, high = (end.item() for end in torch.aminmax(inputs.detach()))
    if not (low >= 0 and high <= 1):
        raise InputError(f"inputs are pixels in [0, 1], found {low:.6g} to {high:.6g}; {hint}")


@dataclass(frozen=True)
class _Search:
    """The search for one batch."""

    model: torch.nn.Module
    clean: torch.Tensor
    dtype: torch.dtype
    """In which the network takes its inputs."""
    targets: Any
    threat: ThreatModel
    loss: Loss | None

    def best(self, generator: Generators) -> torch.Tensor:
        """Of each example what the best of all restarts found."""
        best = self._climb(generator)
        if self.threat.restarts == 1:
            return best
        highest = self._of_each(best)
        for _ in range(self.threat.restarts - 1):
            found = self._climb(generator)
            values = self._of_each(found)
            better = values > highest
            highest = torch.where(better, values, highest)
            best[better] = found[better]
        return best

    def _climb(self, generator: Generators) -> torch.Tensor:
        threat = self.threat
        found = start(threat, self.clean, generator)
        for _ in range(threat.steps):
            step = threat.step_size * direction(threat, self._gradient(found))
            found = nearest(threat, found + step, self.clean)
        return found

    def _gradient(self, place: torch.Tensor) -> torch.Tensor:
        place = place.detach().requires_grad_()
        with _told():
            value = self._value(self.model(place.to(self.dtype)))
        check_scalar(value)
        # Not backward: gradients of weights would take as long again, and stay behind.
        gradient = None
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, place, allow_unused=True)
        if gradient is None:
            raise UsageError("the loss does not depend on the inputs: there is nothing to attack")
        return gradient.nan_to_num(nan=0.0)

    def _value(self, outputs: Any) -> torch.Tensor:
        if self.loss in (None, cross_entropy):
            # A sum, so that no example's gradient depends on how many there are.
            return cross_entropies(outputs, self.targets).sum()
        return self.loss(outputs, self.targets)

    def _of_each(self, place: torch.Tensor) -> torch.Tensor:
        """The loss of each example."""
        with torch.no_grad(), _told():
            outputs = self.model(place.to(self.dtype))
            if self.loss in (None, cross_entropy):
                return cross_entropies(outputs, self.targets)
            if not isinstance(outputs, torch.Tensor) or not isinstance(self.targets, torch.Tensor):
                raise UsageError("restarts with a loss need tensors: outputs, targets, a row each")
            rows = [slice(at, at + 1) for at in range(len(place))]
            losses = [self.loss(outputs[row], self.targets[row]) for row in rows]
            return torch.stack([value.reshape(()) for value in losses])


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Tell what a network or a loss does not take: neither is of whoever attacks."""
    try:
        yield
    except TicketkitError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise TicketkitError(
                "out of memory in an attack; a smaller batch needs less"
            ) from error
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise UsageError(f"the network or the loss failed under attack: {reason}") from error


def _plain(value: Any) -> Any:
    """Without a graph, and a copy where autograd cannot use a tensor of inference mode."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.clone() if value.is_inference() else value.detach()


@contextlib.contextmanager
def _undisturbed(model: torch.nn.Module, inputs: torch.Tensor) -> Iterator[None]:
    """Gradients, in eval mode, whatever the caller's modes are; afterwards they are as before."""
    generators = same_generators([inputs, *model.parameters()])
    with evaluating(model), generators, torch.inference_mode(False), torch.enable_grad():
        yield
