"""Robustifier `pgd`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Pgd(ticketkit.ThreatModel, ticketkit.Robustifier):
    """Adversarial training: the inputs at which projected gradient ascent finds a high loss.

    Madry et al. 2018, arXiv 1706.06083. Its options are those of `ticketkit.ThreatModel`; a step
    is 2.5 * eps / steps unless one is given, and a schedule's ramp scales both. The attack looks at
    the network in eval mode.
    """

    name = "pgd"

    def perturb(
        self,
        model: torch.nn.Module,
        inputs: torch.Tensor,
        targets: Any,
        context: ticketkit.StepContext,
    ) -> torch.Tensor:
        threat, generator = self.scaled(context.strength), context.generator
        return ticketkit.attack(
            model, inputs, targets, threat, loss=context.loss, generator=generator
        )


@ticketkit.hookimpl
def ticketkit_robustifiers() -> Iterator[type[ticketkit.Robustifier]]:
    yield Pgd
