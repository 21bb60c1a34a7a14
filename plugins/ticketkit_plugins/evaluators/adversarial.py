"""Evaluator `adversarial`."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import ticketkit

if TYPE_CHECKING:
    import torch

    Dataset = torch.utils.data.Dataset[Any]

_CHECKED = 100  # of the pictures are attacked without bounds
_WITHSTOOD = 0.05  # of them are right then, or as many as one answer to all would be


@dataclass(frozen=True)
class Adversarial(ticketkit.Evaluator):
    """What is left of the accuracy under FGSM and PGD, for each radius and number of steps.

    A figure an attack, and `clean`, of the same pictures. `fgsm-8` is one step from the picture
    itself (Goodfellow et al. 2015), `pgd20-8` projected gradient ascent of 20 steps (Madry et al.
    2018); the radius is in 1/255 in linf, and as it is in l2: `pgd10-l2-0.25`. Of the pictures
    `count` are attacked, the same ones for every network; `count=none` attacks all.

    Accuracy falls as radius and steps grow, and to next to nothing where the radius spans all
    pictures, which a part of them is tried with. If it does not, gradients are masked and the
    figures say little of robustness (Athalye et al. 2018, arXiv 1802.00420): a warning tells.
    """

    name = "adversarial"
    norm: Literal["linf", "l2"] = "linf"
    eps: tuple[float, ...] = (8 / 255,)
    steps: tuple[int, ...] = (1, 10, 20)
    step: float | None = None
    """The length of a step; none for 2.5 * eps / steps, which is 2/255 for 10 steps at 8/255. Some
    take 2/255 for 20 steps too, which `step=2/255` does."""
    random_start: bool | None = None
    """Begin at a point drawn from the ball, not at the picture; none for all but single steps."""
    restarts: int = 1
    count: int | None = 400
    metric: str = "accuracy"
    """What is measured under attack: an evaluator of outputs alone, or a figure of one, which is a
    share of what is right."""

    def __post_init__(self) -> None:
        if self.count is not None:
            ticketkit.check_whole(self, "count", 1)
        if self.norm == "linf" and max(self.eps, default=0) > 1:
            raise ticketkit.UsageError(
                f"adversarial: eps is in pixels of [0, 1], such as 8/255, found {max(self.eps):g}"
            )
        if self.step == 0:
            raise ticketkit.UsageError("adversarial: a step of 0 attacks nothing, found step=0")
        if not [self._made(eps, steps) for eps in self.eps for steps in self.steps]:
            raise ticketkit.UsageError("adversarial needs an eps and a number of steps, or more")
        if len(self._threats()) < len(self.eps) * len(self.steps):
            raise ticketkit.UsageError("adversarial: two attacks are one, or have one name")
        ticketkit.metric_of(self.metric)

    def evaluate(
        self, model: torch.nn.Module, data: Dataset, context: ticketkit.EvaluationContext
    ) -> ticketkit.Figures:
        sample = ticketkit.sample_of(data, self.count)
        # In the same batches as under attack, so that no perturbation is the same to the last bit;
        # and first: what it refuses, it tells at once.
        clean = self._under("clean", ticketkit.ThreatModel(eps=0), model, sample, context)
        self._check_metric(clean)
        found = {
            name: self._under(name, threat, model, sample, context)
            for name, threat in self._threats().items()
        }
        found["clean"] = clean
        masked = [*self._rises(found), *self._withstands(model, sample, context)]
        for message in masked:
            warnings.warn(f"gradients are masked: {message}", stacklevel=2)
        return found

    def _check_metric(self, measured: ticketkit.Estimate) -> None:
        # What masked gradients are told by is how many are right.
        if (measured.unit, measured.better) != ("share", "higher"):
            raise ticketkit.UsageError(
                "adversarial: metric is a share of what is right, such as accuracy, found "
                f"{self.metric!r}"
            )

    def _threats(self) -> dict[str, ticketkit.ThreatModel]:
        made = [self._threat(eps, steps) for eps in self.eps for steps in self.steps]
        return {self._name_of(threat): threat for threat in made}

    def _threat(self, eps: float, steps: int) -> ticketkit.ThreatModel:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warned as the options were given
            return self._made(eps, steps)

    def _made(self, eps: float, steps: int) -> ticketkit.ThreatModel:
        random = steps > 1 if self.random_start is None else self.random_start
        start: Literal["random", "zero"] = "random" if random else "zero"
        return ticketkit.ThreatModel(self.norm, eps, steps, self.step, start, self.restarts)

    def _withstands(
        self, model: torch.nn.Module, sample: Dataset, context: ticketkit.EvaluationContext
    ) -> Iterator[str]:
        """Where an attack fails that can make any picture of any other."""
        if all(threat.is_clean for threat in self._threats().values()):
            return
        data = ticketkit.sample_of(sample, _CHECKED)
        found = self._under("without bounds", self._unbounded(data), model, data, context)
        surely = found.value if found.low is None else found.low
        if surely > max(_WITHSTOOD, _commonest(data)):
            yield (
                f"{100 * found.value:.1f} % of {found.n} pictures withstand an attack without "
                "bounds, which no network can"
            )

    def _unbounded(self, data: Dataset) -> ticketkit.ThreatModel:
        """A ball around each picture that holds all pictures.

        From the picture itself: where gradients are zero a random start alone may be wrong enough.
        """
        eps = 1.0 if self.norm == "linf" else math.sqrt(data[0][0].numel())
        return ticketkit.ThreatModel(self.norm, eps, max(10, *self.steps), start="zero")

    def _name_of(self, threat: ticketkit.ThreatModel) -> str:
        kind = "fgsm" if (threat.steps, threat.start) == (1, "zero") else f"pgd{threat.steps}"
        return f"{kind}-{threat.radius}"

    def _under(
        self,
        what: str,
        threat: ticketkit.ThreatModel,
        model: torch.nn.Module,
        data: Dataset,
        context: ticketkit.EvaluationContext,
    ) -> ticketkit.Estimate:
        attacked = ticketkit.attacked(model, data, threat, context.seed, batch=context.batch)
        outputs = ticketkit.outputs_of(model, attacked, context.batch)
        with context.progress(what, len(data)) as advance:  # type: ignore[arg-type]
            return ticketkit.measured_by(self.metric, outputs, advance)

    def _rises(self, found: ticketkit.Figures) -> Iterator[str]:
        """Where a stronger attack does less harm than a weaker one, by more than chance would."""
        rows = [[self._threat(eps, steps) for steps in sorted(self.steps)] for eps in self.eps]
        columns = [[self._threat(eps, steps) for eps in sorted(self.eps)] for steps in self.steps]
        for ladder in (*rows, *columns):
            names = ["clean", *map(self._name_of, ladder)]
            for weaker, stronger in itertools.pairwise(names):
                before, after = found[weaker], found[stronger]
                if after.value > (before.value if before.high is None else before.high):
                    yield (
                        f"{stronger} leaves {100 * after.value:.1f} % right, where {weaker} leaves "
                        f"{100 * before.value:.1f} %"
                    )


def _commonest(data: Dataset) -> float:
    """The share of the class that occurs most often, which one answer to all gets right."""
    counts = Counter[int]()
    for _, targets in ticketkit.batches_of(data, _CHECKED):
        counts.update(targets.flatten().tolist())
        if targets.dim() > 1:
            del counts[ticketkit.IGNORED]
    return max(counts.values(), default=0) / max(1, counts.total())


@ticketkit.hookimpl
def ticketkit_evaluators() -> Iterator[type[ticketkit.Evaluator]]:
    yield Adversarial
