"""The schedules that have a name: `paper`, `salman` and `small`, for each stage.

`paper` is 'Robust Tickets Can Transfer Better' (Fu et al. 2023) where it speaks, and the code that
it follows where it does not; `salman` is Salman et al. 2020 (arXiv 2007.08489), whose weight decay
and learning rates differ; `small` trains small networks on small pictures in seconds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from ticketkit.errors import UsageError, near, printable
from ticketkit.options import changed, configured
from ticketkit.parts import Strategy
from ticketkit.schedules import Schedule

Stage = Literal["pretrain", "finetune", "linear", "upstream", "downstream", "mask"]

_PAPER = {
    # ImageNet: Salman et al. 2020, Cohen et al. 2019.
    "pretrain": Schedule(
        epochs=90, batch=256, lr=0.1, milestones=(30, 60), augment="crop", size=224
    ),
    # Fu et al., section III-A; the learning rates are the grid of Salman et al.
    "finetune": Schedule(
        epochs=150, batch=64, lr=0.001, milestones=(50, 100), augment="crop", size=224
    ),
    "linear": Schedule(
        epochs=150,
        batch=64,
        lr=0.01,
        milestones=(50, 100),
        augment="crop",
        size=224,
        batchnorm="recalibrate",
    ),
    # A round of iterative pruning, on the source task and on the downstream one: Chen et al. 2021,
    # 'The Lottery Tickets Hypothesis for Supervised and Self-supervised Pre-training'.
    "upstream": Schedule(epochs=10, batch=256, lr=1e-4, augment="crop", size=224),
    "downstream": Schedule(
        epochs=182,
        batch=256,
        lr=0.1,
        milestones=(91, 136),
        weight_decay=2e-4,
        augment="crop",
        size=224,
    ),
    # Robust-Scratch-Ticket's and hidden-networks' for scores.
    "mask": Schedule(
        epochs=160,
        batch=256,
        lr=0.1,
        weight_decay=5e-4,
        decay="cosine",
        augment="crop",
        size=224,
    ),
}
# An adversarial round on the source task: Chen et al. 2022, 'Data-Efficient Double-Win Lottery
# Tickets from Robust Pre-training'.
_PAPER_ROBUST = replace(_PAPER["upstream"], epochs=30, batch=2048, lr=5e-4)
# Fu et al., section III-A: PASCAL VOC; crop and learning rate are those of CV_LTH_Pre-training.
_PAPER_SEGMENTATION = Schedule(
    steps=30_000, batch=4, lr=0.01, milestones=(18_000, 22_000), augment="crop", size=513
)

_SMALL = {
    "pretrain": Schedule(
        epochs=8,
        batch=128,
        lr=0.1,
        nesterov=True,
        weight_decay=5e-4,
        decays="matrices",
        decay="cosine",
        warmup=0.15,
        ramp=0.2,
        augment="shift",
    ),
    "finetune": Schedule(
        epochs=12,
        batch=64,
        lr=0.1,
        nesterov=True,
        decays="matrices",
        decay="cosine",
        warmup=0.15,
        ramp=0.2,
        augment="shift",
    ),
    "linear": Schedule(solver="newton", batchnorm="recalibrate"),
    # SGD hardly moves scores that begin in the order of the weights.
    "mask": Schedule(
        epochs=60,
        batch=64,
        optimizer="adam",
        lr=0.003,
        weight_decay=0.0,
        decay="cosine",
        augment="shift",
    ),
}
_SMALL["upstream"] = replace(_SMALL["pretrain"], epochs=2)
_SMALL["downstream"] = _SMALL["finetune"]
# With so few pictures an epoch is a step or two.
_FEW, _EPOCHS_OF_FEW = 250, 40

# Tasks that Salman et al. finetune at 0.01; all others at 0.001.
_FAST = ("aircraft", "birdsnap", "flowers", "cars")


def schedule_of(
    spec: str | Schedule,
    stage: Stage,
    *,
    task: str = "",
    segmentation: bool = False,
    robust: bool = False,
    count: int = 0,
) -> Schedule:
    """The schedule that a spec string means at a stage; a `Schedule` stands for itself.

    A spec without a preset, such as a ticket's provenance has, is a whole schedule: what it leaves
    out is as in `Schedule`.

    `task` is the name of the task, `count` how many training pictures it has, and `robust` whether
    a robustifier perturbs them.
    """
    if isinstance(spec, Schedule):
        _check_optimizer(spec)
        _check_solver(spec, stage)
        return spec
    if not isinstance(spec, str):
        raise UsageError(
            f"a schedule is a spec string such as 'paper:lr=0.01' or a ticketkit.Schedule, found "
            f"{spec!r}"
        )
    if stage not in get_args(Stage):
        raise UsageError(f"a stage is one of {', '.join(get_args(Stage))}, found {stage!r}")
    name, _, text = spec.partition(":")
    if "=" in name.partition(",")[0]:  # as tickets and checkpoints record it
        whole: Schedule = configured(Schedule, spec, spec)
        _check_optimizer(whole)
        _check_solver(whole, stage)
        return whole
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise UsageError(
            f"unknown preset {printable(name)!r}; choose from {known}{near(name, PRESETS)}"
        )
    base = _preset(name, stage, task, segmentation, robust, count)
    found = changed(base, _counted(base, text), spec)
    if found.optimizer != base.optimizer:
        _check_optimizer(found)
    _check_solver(found, stage)
    return found


PRESETS = ("paper", "salman", "small")


def stage_of(strategy: Strategy, *, upstream: bool) -> Stage:
    """What a strategy trains: a mask, or in rounds a network on its own task or on another one."""
    if strategy.stage == "mask":
        return "mask"
    return "upstream" if upstream else "downstream"


def _check_solver(schedule: Schedule, stage: Stage) -> None:
    """Refuse for rounds and masks what trains nothing but a head."""
    if stage in ("upstream", "downstream", "mask"):
        schedule.check_solver(linear=False, plain=False)


def _check_optimizer(schedule: Schedule) -> None:
    """Raise a `UsageError` for an optimizer that cannot serve, before anything is read."""
    from ticketkit.optimizers import optimizer_class  # torch, which no preset needs

    optimizer_class(schedule.optimizer)


def _preset(
    name: str, stage: Stage, task: str, segmentation: bool, robust: bool, count: int
) -> Schedule:
    if name == "small":
        return _small(stage, segmentation, count)
    base = _PAPER_ROBUST if robust and stage == "upstream" else _PAPER[stage]
    if segmentation:
        whole = replace(_PAPER_SEGMENTATION, batchnorm=base.batchnorm)
        scores = replace(whole, lr=base.lr, weight_decay=base.weight_decay)
        base = scores if stage == "mask" else whole
    if name == "salman" and stage in ("finetune", "linear"):
        base = replace(base, weight_decay=5e-4)
        if stage == "finetune" and task in _FAST:
            base = replace(base, lr=0.01)
    return base


def _small(stage: Stage, segmentation: bool, count: int) -> Schedule:
    if stage == "linear" and segmentation:  # a head of convolutions has no closed features
        return replace(_SMALL["finetune"], batchnorm="recalibrate", augment="none")
    if stage in ("finetune", "downstream") and 0 < count <= _FEW:
        return replace(_SMALL[stage], epochs=_EPOCHS_OF_FEW)
    return _SMALL[stage]


def _counted(base: Schedule, text: str) -> str:
    """`text` with what follows from another length: the unit that it is counted in, milestones."""
    given = dict(item.partition("=")[::2] for item in text.replace(" ", "").split(","))
    for unit, other in (("epochs", "steps"), ("steps", "epochs")):
        if not given.get(unit, "").isdecimal() or other in given:
            continue
        text += f",{other}=0"
        if base.milestones and "milestones" not in given:
            share = int(given[unit]) / (base.steps or base.epochs)
            moved = {max(1, round(share * milestone)) for milestone in base.milestones}
            text += ",milestones=" + "+".join(map(str, sorted(moved)))
    return text
