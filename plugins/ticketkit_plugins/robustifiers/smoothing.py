"""Robustifier `smoothing`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Smoothing(ticketkit.Robustifier):
    """Training for randomized smoothing: normal noise of deviation `sigma` on the pixels.

    Cohen et al. 2019, arXiv 1902.02918. What leaves [0, 1] is not clipped, for a certificate holds
    for the noise that was trained on; for the same reason a schedule's ramp does not scale it.
    """

    name = "smoothing"
    sigma: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise ticketkit.UsageError(
                f"sigma is a finite number above 0, found {self.sigma!r}; leave the robustifier "
                "out for training without noise"
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
        generator = context.generator
        noise = torch.randn(inputs.shape, generator=generator, device=generator.device)
        return inputs + self.sigma * noise.to(inputs)


@ticketkit.hookimpl
def ticketkit_robustifiers() -> Iterator[type[ticketkit.Robustifier]]:
    yield Smoothing
