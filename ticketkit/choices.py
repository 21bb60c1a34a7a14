"""What a draw is asked for, its sparsity and its parts: checked before anything is read."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import cast

from ticketkit.blame import blamed
from ticketkit.errors import UsageError
from ticketkit.options import resolve, spec_of
from ticketkit.parts import Allocation, Criterion, Scheme, Strategy, brings


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
        allocation: str | Allocation | None,
        strategy: str | Strategy,
    ) -> Parts:
        """The parts that spec strings or instances mean; no allocation is the strategy's own."""
        found = cast("Strategy", resolve("strategy", strategy))
        return cls(
            cast("Scheme", resolve("scheme", scheme)),
            cast("Criterion", resolve("criterion", criterion)),
            cast("Allocation", resolve("allocation", allocation or found.allocation)),
            found,
        )

    def check(self) -> None:
        """Raise a `UsageError` for parts that the strategy has no use for."""
        with blamed(self.strategy):
            self.strategy.check(self)
            if self.strategy.stage not in ("round", "mask"):
                raise ValueError(f"stage is 'round' or 'mask', found {self.strategy.stage!r}")

    def specs(self) -> dict[str, str]:
        """The spec string of each part."""
        return {kind: spec_of(part) for kind, part in vars(self).items()}

    def sparsity(self, asked: float | None) -> float:
        """The sparsity to draw at: the one asked for, or the one that the scheme fixes."""
        fixed, scheme = fixed_sparsity(self.scheme), spec_of(self.scheme)
        if asked is None and fixed is None:
            raise UsageError(
                f"scheme {scheme} needs --sparsity (in Python sparsity=), the fraction to remove, "
                "in [0, 1)"
            )
        if asked is not None:
            check_sparsity(asked)
            if fixed is None:
                return float(asked)
            if abs(asked - fixed) > 1e-6:  # as we print it
                raise UsageError(
                    f"scheme {scheme} has a sparsity of its own, {fixed:.6g}; found {asked}"
                )
        return cast("float", fixed)

    def spares(self, shape: tuple[int, ...]) -> str | None:
        """Why the scheme spares a layer of this presented shape; None where it does not."""
        with blamed(self.scheme):
            reason = self.scheme.spares(shape)
            if reason is not None and not (isinstance(reason, str) and reason):
                raise TypeError(f"spares must return a reason or None, found {reason!r}")
        return reason

    @property
    def looks_at_data(self) -> bool:
        """Whether a draw with these parts needs a task's data."""
        return self.strategy.trains or brings(self.criterion, "collect")

    def check_training(self, *, network: bool, data: object, others: tuple[object, ...]) -> None:
        """Raise a `UsageError` unless data to train on is given just where the strategy trains."""
        strategy = spec_of(self.strategy)
        if not self.strategy.trains:
            if data is not None or any(other is not None for other in others):
                raise UsageError(
                    f"strategy {strategy} does not train: leave data=, schedule=, robustifier= and "
                    "run= out"
                )
            return
        if not network:
            raise UsageError(
                f"strategy {strategy} trains: it needs a network and data: "
                "ticketkit.draw(model, ..., data=...)"
            )
        if data is None:
            raise UsageError(f"strategy {strategy} trains: it needs data=, such as a torch Dataset")

    def check_task(self, task: str | None) -> None:
        """Raise a `UsageError` unless a task is given just where a part looks at data."""
        if self.strategy.trains:
            if task is None:
                strategy = spec_of(self.strategy)
                raise UsageError(f"strategy {strategy} trains: give the data with --task")
            resolve("task", task)
            return
        collects, criterion = brings(self.criterion, "collect"), spec_of(self.criterion)
        if collects and task is None:
            raise UsageError(
                f"criterion {criterion} looks at data: give the task that the network was trained "
                "on with --task"
            )
        if not collects and task is not None:
            raise UsageError(f"criterion {criterion} looks at no data: leave --task out")
        if task is not None:
            resolve("task", task)

    def check_data(self, *, network: bool, batches: object, loss: object = None) -> None:
        """Raise a `UsageError` unless batches are given just where the criterion looks at them."""
        collects, criterion = brings(self.criterion, "collect"), spec_of(self.criterion)
        if collects and not network:
            raise UsageError(
                f"criterion {criterion} needs a network and batches: "
                "ticketkit.draw(model, ..., batches=...)"
            )
        if collects and batches is None:
            raise UsageError(
                f"criterion {criterion} needs batches=, an iterable of (inputs, targets)"
            )
        if not collects and (batches, loss) != (None, None):
            raise UsageError(
                f"criterion {criterion} looks at no data: leave batches= and loss= out"
            )


def fixed_sparsity(scheme: Scheme) -> float | None:
    """The one sparsity of a scheme that fixes it."""
    with blamed(scheme):
        fixed = scheme.fixed_sparsity
        if fixed is None:
            return None
        if type(fixed) not in (int, float) or not 0 <= fixed < 1:
            raise ValueError(f"fixed_sparsity must be None or a number in [0, 1), found {fixed!r}")
        return float(fixed)
