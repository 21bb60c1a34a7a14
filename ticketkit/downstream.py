"""Transfer: a ticket on another task, its zeros kept."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from ticketkit.augmenting import as_evaluated
from ticketkit.batchnorm import recalibrate
from ticketkit.errors import UsageError
from ticketkit.heads import head_of, only_heads, replace_head
from ticketkit.linear_probe import probe
from ticketkit.loop import Fitted, Report
from ticketkit.mask import Mask, unwrap
from ticketkit.parts import Robustifier
from ticketkit.presets import schedule_of
from ticketkit.schedules import Schedule
from ticketkit.sharing import led, share_tensors
from ticketkit.sources import source_of
from ticketkit.stacking import count_of
from ticketkit.stages import Run
from ticketkit.ticket import Ticket
from ticketkit.training import fit

if TYPE_CHECKING:
    from ticketkit.parts import Loss

Mode = Literal["finetune", "linear"]


def transfer(
    model: torch.nn.Module,
    ticket: Ticket | Mask,
    data: Any,
    *,
    mode: Mode = "linear",
    classes: int | None = None,
    schedule: str | Schedule = "small",
    loss: Loss | None = None,
    robustifier: str | Robustifier | None = None,
    seed: int = 0,
    verify: bool = True,
    run: Run | str | os.PathLike[str] | None = None,
    resume: bool = False,
    workers: int = 0,
    save_every: float = 60.0,
    report: Report | None = None,
) -> Fitted | None:
    """Train a ticket's network on a downstream task, in place; the ticket's zeros stay +0.0.

    `model` holds the weights that the ticket was drawn from: others are refused, where the ticket
    records which they are, unless `verify` is false. With `classes` it gets a new head. `data` is
    as in `fit`, and so are the other arguments.

    `mode="finetune"` trains all weights that were kept. `mode="linear"` trains the head alone, on
    the features of the frozen network; its BatchNorm statistics follow the schedule's policy, by
    default estimated anew on the pictures, without labels, once the mask is applied. A schedule
    with `solver=newton`, such as `"small"`, extracts the features once and solves the multinomial
    logistic regression; nothing is saved in `run` then, and None is returned.

    Raises `MismatchError` (other weights, a mask that does not fit), and what `fit` raises.
    """
    if mode not in get_args(Mode):
        raise UsageError(f"mode is one of {', '.join(get_args(Mode))}, found {mode!r}")
    model = unwrap(model)
    mask = _mask(ticket, model, verify)
    mask.tensors_of(model)
    chosen = schedule_of(schedule, mode, count=count_of(data))
    if classes is not None:
        replace_head(model, classes, seed)
    chosen.check_solver(linear=mode == "linear", plain=robustifier is None and loss is None)
    if chosen.solver == "newton":
        mask.apply_(model)
        led(partial(_solve, model, data, chosen))
        share_tensors(model.state_dict())
        return None
    with only_heads(model) if mode == "linear" else contextlib.nullcontext():
        return fit(
            model,
            data,
            schedule=chosen,
            loss=loss,
            mask=mask,
            robustifier=robustifier,
            seed=seed,
            run=run,
            resume=resume,
            workers=workers,
            save_every=save_every,
            report=report,
        )


def _mask(ticket: Ticket | Mask, model: torch.nn.Module, verify: bool) -> Mask:
    if isinstance(ticket, Mask):
        return ticket
    if not isinstance(ticket, Ticket):
        raise UsageError(f"expected a ticket or a mask, found {type(ticket).__name__}")
    if verify and ticket.provenance.source is not None:
        ticket.check_source(source_of(model).digest())
    return ticket.mask


def _solve(model: torch.nn.Module, data: Any, schedule: Schedule) -> None:
    """The linear evaluation in closed steps: features once, then the head's optimum."""
    if schedule.batchnorm == "train":
        raise UsageError(
            "batchnorm=train lets the features move: train the head by solver=sgd, or take "
            "batchnorm=recalibrate or eval"
        )
    data = as_evaluated(data, schedule)
    if schedule.batchnorm == "recalibrate":
        recalibrate(model, data)
    probe(model, head_of(model), data, l2=schedule.l2)
