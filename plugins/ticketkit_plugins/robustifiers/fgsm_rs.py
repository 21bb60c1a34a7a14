"""Robustifier `fgsm-rs`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FgsmRs(ticketkit.Robustifier):
    """Adversarial training with one signed step of 1.25 * eps from a random start in the linf ball.

    Wong et al. 2020, arXiv 2001.03994: near several steps of `pgd`, at the cost of one. A
    schedule's ramp scales eps. The attack looks at the network in eval mode.
    """

    name = "fgsm-rs"
    eps: float = 8 / 255

    def __post_init__(self) -> None:
        self._threat(1.0)

    def perturb(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        targets: Any,
        context: ticketkit.StepContext,
    ) -> torch.Tensor:
        threat, generator = self._threat(context.strength), context.generator
        return ticketkit.attack(
            model, inputs, targets, threat, loss=context.loss, generator=generator
        )

    def _threat(self, strength: float) -> ticketkit.ThreatModel:
        return ticketkit.ThreatModel(
            "linf", self.eps, steps=1, step=1.25 * self.eps, start="random"
        ).scaled(strength)


@ticketkit.hookimpl
def ticketkit_robustifiers() -> Iterator[type[ticketkit.Robustifier]]:
    yield FgsmRs
