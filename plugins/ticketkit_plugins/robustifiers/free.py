"""Robustifier `free`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Free(ticketkit.Robustifier):
    """Adversarial training on each batch `replays` times, at the cost of that many plain steps.

    Shafahi et al. 2019, arXiv 1904.12843. The backward pass of each training step yields the
    gradient of the inputs too, for a signed step of eps within the linf ball. The paper starts a
    batch with the perturbation of the batch before; here it is begun anew, uniformly in the ball,
    as a part holds no state. Train for 1 / replays of the epochs. A schedule's ramp scales eps.
    """

    name = "free"
    eps: float = 8 / 255
    replays: int = 4

    def __post_init__(self) -> None:
        ticketkit.ThreatModel("linf", self.eps)
        if not isinstance(self.replays, int) or self.replays < 1:
            raise ticketkit.UsageError(
                f"replays is a whole number of 1 or more, found {self.replays!r}"
            )

    def perturb(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        targets: Any,
        context: ticketkit.StepContext,
    ) -> torch.Tensor:
        import torch

        ticketkit.check_pixels(inputs)
        generator, eps = context.generator, self.eps * context.strength
        noise = torch.rand(inputs.shape, generator=generator, device=generator.device)
        return (inputs + eps * (2 * noise - 1).to(inputs)).clamp(0, 1).detach()

    def batches(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        targets: Any,
        context: ticketkit.StepContext,
    ) -> Iterator[torch.Tensor]:
        eps = self.eps * context.strength
        found = self.perturb(model, inputs, targets, context).requires_grad_()
        yield found
        for _ in range(self.replays - 1):
            if found.grad is None:
                raise RuntimeError("no gradient came back to the inputs of the last training step")
            moved = found.detach() + eps * found.grad.nan_to_num(nan=0.0).sign()
            moved = moved.clamp(inputs - eps, inputs + eps).clamp(0, 1)
            found = moved.detach().requires_grad_()
            yield found


@ticketkit.hookimpl
def ticketkit_robustifiers() -> Iterator[type[ticketkit.Robustifier]]:
    yield Free
