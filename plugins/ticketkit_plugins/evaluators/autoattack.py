"""Evaluator `autoattack`."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import ticketkit

if TYPE_CHECKING:
    import torch

    Dataset = torch.utils.data.Dataset[Any]

_BATCH = 100
_CLASSES = 4  # below which its targeted loss is not defined
_TARGETS = 9


@dataclass(frozen=True)
class AutoAttack(ticketkit.Evaluator):
    """What is left of the accuracy under AutoAttack, as its authors' package has it.

    The standard ensemble of APGD on the cross-entropy, targeted APGD and FAB, and Square, with the
    settings that its authors fixed (Croce and Hein 2020, arXiv 2003.01690), needs no tuning and
    finds what masked gradients hide. Targeted attacks aim at nine other classes, or at all where
    there are fewer; a network needs four classes or more. It is some hundred times the work of
    PGD-10: `count` pictures are attacked, the same ones for every network.

    Figures: `autoattack-8`, the radius in 1/255 in linf, or `autoattack-l2-0.5`, and `clean`, of
    the same pictures. Needs `pip install 'ticketkit[autoattack]'`.
    """

    name = "autoattack"
    norm: Literal["linf", "l2"] = "linf"
    eps: float = 8 / 255
    count: int | None = 400

    def __post_init__(self) -> None:
        ticketkit.ThreatModel(self.norm, self.eps)
        if self.eps == 0:
            raise ticketkit.UsageError("autoattack: eps is above 0; the accuracy tells the rest")
        if self.count is not None:
            ticketkit.check_whole(self, "count", 1)

    def evaluate(
        self, model: torch.nn.Module, data: Dataset, context: ticketkit.EvaluationContext
    ) -> ticketkit.Figures:
        library = ticketkit.import_extra("pyautoattack", "autoattack")
        sample = ticketkit.sample_of(data, self.count)
        clean = ticketkit.evaluate(model, sample, ["accuracy"], batch=_BATCH)["accuracy"]["top1"]
        radius = ticketkit.ThreatModel(self.norm, self.eps).radius
        # The library leaves gradients behind.
        twin = copy.deepcopy(model).requires_grad_(False)
        right = n = 0
        with context.progress("autoattack", len(sample)) as advance, _told():  # type: ignore[arg-type]
            for inputs, targets in ticketkit.batches_of(sample, _BATCH):
                right += self._withstand(library, twin, inputs, targets, context.seed)
                n += len(inputs)
                advance(len(inputs))
        return {f"autoattack-{radius}": ticketkit.Estimate.share(right, n), "clean": clean}

    def _withstand(
        self, library: Any, model: torch.nn.Module, inputs: Any, targets: Any, seed: int
    ) -> int:
        """How many of a batch are right whatever is tried."""
        inputs = ticketkit.placed(inputs, model)
        ticketkit.check_pixels(inputs)

        def network(pictures: torch.Tensor) -> torch.Tensor:
            # The library works in float32 alone, which no ball is too fine for.
            return model(ticketkit.placed(pictures, model)).float()  # type: ignore[no-any-return]

        inputs, targets = inputs.float(), targets.long().to(inputs.device)
        classes = network(inputs[:1]).shape[1]
        if classes < _CLASSES:
            raise ticketkit.EvaluationError(
                f"autoattack needs {_CLASSES} classes or more, found {classes}"
            )
        norm = {"linf": "Linf", "l2": "L2"}[self.norm]
        options = {"eps": self.eps, "seed": seed % 2**32, "device": inputs.device}
        made = library.AutoAttack(network, norm=norm, **options)
        targeted = min(_TARGETS, classes - 1)
        made.apgd_targeted.n_target_classes = made.fab.n_target_classes = targeted
        found, _ = made.run_standard_evaluation(inputs, targets, batch_size=_BATCH)
        return int((network(found).argmax(1) == targets).sum())


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """The library's warnings are Python's, not lines of a log."""

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.warn(record.getMessage(), stacklevel=2)

    log, told = logging.getLogger("auto-attack"), Told(logging.WARNING)
    propagates = log.propagate
    log.addHandler(told)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(told)
        log.propagate = propagates


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield AutoAttack
