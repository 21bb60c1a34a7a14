"""What commands on the data of a task are asked, and what they do with it alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ticketkit.errors import UsageError
from ticketkit.options import changed, resolve, spec_of, written
from ticketkit.parts import Robustifier, Task
from ticketkit.threats import ThreatModel
from ticketkit.versions import versions_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ticketkit.datasets import Data
    from ticketkit.pretrained import Pretraining
    from ticketkit.schedules import Schedule

# What a network is attacked with after training, where nothing else is asked: the small setting's
# (pictures of 16 x 16), and the common one.
_SMALL_ATTACK = "norm=l2,eps=0.25,steps=10"
_ATTACK = "norm=linf,eps=8/255,steps=10"


@dataclass(frozen=True)
class OnTask:
    """What every command is asked that works on the data of a task, in a run."""

    task: str
    arch: str | None = None
    seed: int = 0
    run: Path | None = None
    """The folder of the run; None for one named by its content."""
    resume: bool = False
    data: Path | None = None
    """The folder in which data lies; None for the user's cache."""
    download: bool = False
    """Whether data that is not there is fetched."""
    device: str = "auto"
    force: bool = False

    def check(self) -> None:
        """Raise a `UsageError` for what is wrong before any data is read."""
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise UsageError(f"seed is a whole number from 0 to 2**63 - 1, found {self.seed!r}")
        task = resolve("task", self.task)
        if self.download:
            from ticketkit.datasets import check_downloads

            check_downloads(cast("Task", task))

    def check_run(self) -> None:
        """Refuse a folder that no run can begin in, in the leading process."""
        from ticketkit.distributed import world
        from ticketkit.runs import check_run

        if self.run is not None and world().leads:
            check_run(self.run, resume=self.resume)


@dataclass(frozen=True)
class Experiment(OnTask):
    """What commands that train are asked as well."""

    robustifier: str | None = None
    fit: str = "small"
    attack: str | None = None
    workers: int = 0

    def parts(self) -> tuple[Task, Robustifier | None]:
        """The task and the robustifier."""
        robust = self.robustifier and resolve("robustifier", self.robustifier)
        return cast("Task", resolve("task", self.task)), cast("Robustifier | None", robust or None)

    def threat(self) -> ThreatModel:
        """The attack that the trained network is measured under."""
        small = self.fit.partition(":")[0] == "small"
        usual = ThreatModel.parse(_SMALL_ATTACK if small else _ATTACK)
        return changed(usual, self.attack, self.attack) if self.attack else usual

    def check(self) -> None:
        super().check()
        if self.workers < 0:
            raise UsageError(f"workers is a number from 0 on, found {self.workers}")
        self.parts()
        self.threat()

    def recipe(self, command: str, **others: Any) -> dict[str, Any]:
        """What decides the bits of the run, specs with every option written out."""
        task, robust = self.parts()
        return {
            "command": command,
            "task": spec_of(task),
            "robustifier": robust and spec_of(robust),
            "attack": self.threat().spec(),
            "seed": self.seed,
            **others,
        }

    def measured(
        self, model: nn.Module, data: Data, schedule: Schedule
    ) -> tuple[dict[str, Any], list[str]]:
        """What the trained network is worth on the test pictures, and what was warned of."""
        from ticketkit.augmenting import as_evaluated
        from ticketkit.estimates import EvaluationContext
        from ticketkit.measuring import measures, of_training

        task, _ = self.parts()
        parts = of_training(task, self.threat())
        context = EvaluationContext(self.seed, root=self.data)
        found = list(measures(model, as_evaluated(data.test, schedule), parts, context))
        return (
            {spec: figures for spec, figures, _ in found},
            [note for *_, notes in found for note in notes],
        )

    def record(
        self,
        arch: str,
        data: Data,
        schedule: Schedule,
        normalisation: Mapping[str, tuple[float, ...]],
    ) -> Pretraining:
        """What the file of the trained weights says of them."""
        from ticketkit.pretrained import Pretraining

        task, robust = self.parts()
        return Pretraining(
            arch=arch,
            classes=data.classes,
            channels=data.shape[0],
            task=spec_of(task),
            robustifier=None if robust is None else spec_of(robust),
            fit=written(schedule),
            seed=self.seed,
            normalisation=normalisation,
            versions=versions_of(task, robust),
        )


def data_for(asked: OnTask, task: Task) -> Data:
    """The task's data, which the leading process reads first: it may download and convert it."""
    from ticketkit.datasets import data_of
    from ticketkit.distributed import world
    from ticketkit.sharing import in_turn

    download = asked.download and world().leads
    return in_turn(lambda: data_of(task, asked.data, download=download))


def ready(model: nn.Module, device: torch.device) -> nn.Module:
    """A network on its device, laid out as training is fastest.

    Channels come last, unless some convolution has a number of them that is no multiple of 8: on a
    CPU, torch 2.14 writes beyond its memory in the gradients of such networks.
    """
    import torch

    sides = [n for weight in model.parameters() if weight.dim() == 4 for n in weight.shape[:2]]
    if any(side % 8 and side > 3 for side in sides) or min(sides, default=8) == 2:
        return model.to(device)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def of_the_data(data: Data) -> dict[str, Any]:
    """What a recipe says of the data: how much there is and, where a set can tell, its digest."""
    return {"train": of_the_set(data.train), "test": of_the_set(data.test)}


def of_the_set(found: Any) -> dict[str, Any]:
    """The same, of one data set."""
    return {"count": len(found), "sha256": found.digest() if hasattr(found, "digest") else None}
