"""What a draw is asked for, its sparsity and its parts: checked before anything is read."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import cast

from ticketkit.errors import UsageError
from ticketkit.options import resolve, spec_of
from ticketkit.parts import Allocation, Criterion, Scheme, Strategy


def check_sparsity(sparsity: float) -> None:
    """Raise a `UsageError` unless `sparsity` is a number in [0, 1]."""
    if isinstance(sparsity, bool) or not isinstance(sparsity, numbers.Real):
        raise UsageError(f"sparsity is the fraction removed, in [0, 1); found {sparsity!r}")
    if 2 <= sparsity < 100:
        raise UsageError(
            f"sparsity is the fraction removed, in [0, 1); found {sparsity}; did you mean "
            f"{sparsity / 100:g}?"
        )
    if not 0 <= sparsity <= 1:
        raise UsageError(f"sparsity is the fraction removed, in [0, 1); found {sparsity}")


@dataclass(frozen=True)
class Parts:
    """The four parts of a draw."""

    scheme: Scheme
    criterion: Criterion
    allocation: Allocation
    strategy: Strategy

    @classmethod
    def resolve(
        cls,
        scheme: str | Scheme,
        criterion: str | Criterion,
        allocation: str | Allocation,
        strategy: str | Strategy,
    ) -> Parts:
        """The parts that spec strings or instances mean."""
        return cls(
            cast("Scheme", resolve("scheme", scheme)),
            cast("Criterion", resolve("criterion", criterion)),
            cast("Allocation", resolve("allocation", allocation)),
            cast("Strategy", resolve("strategy", strategy)),
        )

    def specs(self) -> dict[str, str]:
        """The spec string of each part."""
        return {kind: spec_of(part) for kind, part in vars(self).items()}
