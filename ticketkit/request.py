"""What `ticketkit prune` is asked for, and what is wrong with it before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ticketkit.errors import UsageError
from ticketkit.outputs import check_files
from ticketkit.ticketfile import check_encoding

if TYPE_CHECKING:
    from ticketkit.choices import Parts
    from ticketkit.experiments import Experiment


@dataclass(frozen=True)
class Request:
    """What `ticketkit prune` was asked for."""

    input: Path
    output: Path | None
    """Where the pruned checkpoint goes; None for none."""
    ticket: Path
    sparsity: float | None
    """None for a scheme that has one of its own."""
    scheme: str = "unstructured"
    criterion: str = "magnitude"
    allocation: str | None = None
    """None for the strategy's own."""
    strategy: str = "omp"
    seed: int = 0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_empty_layers: bool = False
    checkpoint_key: str | None = None
    force: bool = False
    encoding: str = "packed"
    with_values: bool = False
    task: str | None = None
    """The task whose data the criterion looks at, or the strategy trains on; None for none."""
    arch: str | None = None
    """The network's spec, for a task; None for the one in the file's metadata."""
    data: Path | None = None
    """The folder of the task's data; None for the user's cache folder."""
    download: bool = False
    """Whether data that is not there is fetched."""
    robustifier: str | None = None
    """What perturbs the inputs of a strategy that trains; None for natural training."""
    fit: str | None = None
    """The schedule of a strategy that trains; None for `small`."""
    run: Path | None = None
    """The folder of its run; None for one named by its content."""
    resume: bool = False
    new_head: bool = False
    """Whether the network gets a new head although the task may be its own."""
    prior: Mapping[str, Any] | None = None
    """What is told of the prior that chose the input; None for one that was named."""
    device: str = "auto"
    workers: int = 0

    def task_of_draw(self, chosen: Parts) -> str | None:
        """The task whose data the draw looks at: not one by which a prior alone has chosen."""
        return self.task if self.prior is None or chosen.looks_at_data else None

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return (self.ticket,) if self.output is None else (self.output, self.ticket)

    def experiment(self) -> Experiment:
        """What a strategy that trains is asked."""
        from ticketkit.experiments import Experiment

        return Experiment(
            task=self.task or "",
            arch=self.arch,
            robustifier=self.robustifier,
            fit=self.fit or "small",
            seed=self.seed,
            run=self.run,
            resume=self.resume,
            data=self.data,
            download=self.download,
            device=self.device,
            workers=self.workers,
        )


def check_request(request: Request) -> Parts:
    """The parts asked for; an error for what is wrong with a request before anything is read."""
    # The catalogue, which `apply` has no use for.
    from ticketkit.choices import Parts

    check_files(request.input, request.output, request.outputs)
    check_encoding(request.encoding)
    parts = (request.scheme, request.criterion, request.allocation, request.strategy)
    chosen = Parts.resolve(*parts)
    chosen.sparsity(request.sparsity)
    chosen.check()
    task = request.task_of_draw(chosen)
    chosen.check_task(task)
    others = (None if request.prior else request.arch, request.data, request.download)
    if task is None and others != (None, None, False):
        raise UsageError("--arch, --data and --download are for --task, the data of a part")
    if chosen.strategy.trains:
        request.experiment().check()
    elif any(getattr(request, name) != getattr(Request, name) for name in _OF_TRAINING):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in _OF_TRAINING)
        raise UsageError(
            f"strategy {request.strategy} does not train: {named} are for those that do, such as "
            "imp"
        )
    return chosen


_OF_TRAINING = ("robustifier", "fit", "run", "resume", "new_head", "device", "workers")
