"""What a draw from a file would do: the work behind `--dry-run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ticketkit.checkpoint import Checkpoint, open_checkpoint
from ticketkit.options import resolve, spec_of
from ticketkit.outputs import there_already
from ticketkit.prunable import cannot_rank, natural, survey
from ticketkit.pruning import described
from ticketkit.request import Request, check_request
from ticketkit.tensorfile import DTYPES, itemsize

if TYPE_CHECKING:
    from ticketkit.choices import Parts
    from ticketkit.parts import Task


def plan(request: Request) -> dict[str, Any]:
    """What `prune` would do, from names and shapes alone; reads no weights and no data, and writes
    nothing. Its peak memory is None where a network runs, whose memory no shape tells."""
    chosen = check_request(request)
    from ticketkit.budgets import budget_of
    from ticketkit.grids import tilings_of
    from ticketkit.reach import check_reachable

    checkpoint = open_checkpoint(request.input, request.checkpoint_key)
    found = survey(checkpoint.tensors(), request.include, request.exclude, chosen.spares)
    for name in found.layers:
        if not checkpoint.is_floating(name):
            dtype = checkpoint.dtypes[name]
            raise cannot_rank(name, DTYPES.get(dtype, dtype))
    tilings = tilings_of(chosen.scheme, found.layers)
    sparsity = chosen.sparsity(request.sparsity)
    budget = budget_of(chosen, found.layers, sparsity, request.allow_empty_layers)
    check_reachable(tilings, budget)
    widest = max((itemsize(checkpoint.dtypes[name]) for name in found.layers), default=0)
    values = budget.total * widest if request.with_values else 0
    arch = _network(request, chosen, checkpoint)
    training = _training(request, chosen, arch) if chosen.strategy.trains else None
    memory = values + checkpoint.size + found.counts.prunable // 8 + 2**25
    return {
        "schema": "ticketkit.plan/1",
        "input": described(checkpoint),
        "prior": request.prior,
        "output": request.output and str(request.output),
        "ticket": str(request.ticket),
        "parts": chosen.specs(),
        "sparsity": {"requested": sparsity},
        "counts": {**vars(found.counts), "kept_at_most": budget.total},
        "layers": [
            {"name": n, "shape": list(x.shape), "weights": x.size, "blocks": tilings[n].count}
            for n, x in sorted(found.layers.items(), key=lambda item: natural(item[0]))
        ],
        "spared": [{"name": name, "reason": why} for name, why in found.spared.items()],
        "bytes": {
            "checkpoint": checkpoint.size if request.output else 0,
            "ticket": sum(-(-tiling.count // 8) + 200 for tiling in tilings.values()) + values,
            "peak_memory": None if arch else memory,
        },
        "training": training,
        "notes": [] if request.force else there_already(request.outputs),
    }


def _network(request: Request, chosen: Parts, checkpoint: Checkpoint) -> str | None:
    """The spec of the network that would run on the task, None where none would; a `UsageError`
    where no network is known."""
    if (spec := request.task_of_draw(chosen)) is None:
        return None
    from ticketkit.opening import arch_for  # torch

    task = cast("Task", resolve("task", spec))
    return arch_for(checkpoint, request.arch, segmentation=task.segmentation)


def _training(request: Request, chosen: Parts, arch: str | None) -> dict[str, Any]:
    """What a strategy would train, and how; a `UsageError` for a schedule without meaning.

    The schedule is told as asked: a preset's may depend on how much data there is.
    """
    from ticketkit.presets import schedule_of, stage_of

    experiment = request.experiment()
    task, robust = experiment.parts()
    stage = stage_of(chosen.strategy, upstream=False)
    schedule_of(experiment.fit, stage, task=task.name, segmentation=task.segmentation)
    return {
        "arch": arch,
        "task": spec_of(task),
        "robustifier": None if robust is None else spec_of(robust),
        "fit": experiment.fit,
        "run": request.run and str(request.run),
    }
