"""What each of several processes does in the tests of what they do together; run by path.

It writes what it found to `RANK.json` in the folder that it is given.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ticketkit
from tests.core.networks import Named, network, pictures
from tests.learners import Learner
from ticketkit import sharing
from ticketkit.digests import digest_of_mask
from ticketkit.distributed import session
from ticketkit.errors import TicketkitError, UsageError
from ticketkit.mask import Mask
from ticketkit.schedules import Schedule
from ticketkit.sources import digest_of_tensors

FOLDER = Path(sys.argv[1]) if __name__ == "__main__" else Path()
RANK = int(os.environ.get("RANK", "0"))
SCHEDULE = Schedule(epochs=2, batch=10, lr=0.05, momentum=0.9, augment="shift")


def plain() -> nn.Sequential:
    """Neither BatchNorm nor dropout: nothing in it depends on how a batch is shared."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)
    )


def raised(work: Callable[[], object]) -> list[str]:
    """The error that comes of it: its class and its words."""
    try:
        work()
    except TicketkitError as error:
        return [type(error).__name__, str(error)]
    return []


def fit(model: nn.Module, **options: Any) -> ticketkit.Fitted:
    return ticketkit.fit(model, pictures(53), **{"schedule": SCHEDULE, **options})


def digest(model: nn.Module) -> str:
    return digest_of_tensors(model.state_dict())


def shared() -> Iterator[tuple[str, object]]:
    """What they give one another."""
    yield "share", sharing.share(f"from {RANK}")
    rows = torch.full((2, 3, 4, 4), float(RANK)).to(memory_format=torch.channels_last)
    counts = torch.tensor([RANK, 7])
    sharing.share_tensors({"rows": rows, "counts": counts})
    yield "share_tensors", [sorted(set(rows.flatten().tolist())), counts.tolist()]
    yield "gathered", sharing.gathered((RANK + 0.5, 2), torch.device("cpu"))
    yield "led", sharing.led(lambda: {"drawn by": RANK})
    yield "led by an error", raised(lambda: sharing.led(_fail))
    yield "led by a fault", raised(lambda: _foreign(lambda: sharing.led(lambda: 1 // 0)))
    yield "in_turn", sharing.in_turn(_first)
    sharing.agree("the mask", "a4")
    found = {"seed": RANK, "data": {"count": 7}}
    yield "agree", raised(lambda: sharing.agree("the recipe", found))


def _fail() -> object:
    raise UsageError(f"found {RANK}")


def _foreign(work: Callable[[], object]) -> object:
    """The leading process raises what it was; the others are told."""
    try:
        return work()
    except ZeroDivisionError as error:
        raise UsageError(f"as it was: {error}") from error


def _first() -> bool:
    """Whether another was here before."""
    path = FOLDER / "first"
    before = path.exists()
    path.touch()
    return before


def drawn() -> Iterator[tuple[str, object]]:
    """Tickets."""
    model = Named(seed=RANK)  # the first one's weights decide
    options: dict[str, Any] = {"scheme": "channel", "sparsity": 0.5, "digest": True}
    ticket = ticketkit.draw(model, **options)
    yield "ticket", ticket.encoded().hex()
    yield "no ticket", raised(lambda: ticketkit.draw(model, scheme="channel", sparsity=0.999))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ticketkit.jobs.led", _torn)
        yield "torn", raised(lambda: ticketkit.draw(model, **options))


def _torn(work: Callable[[], Any]) -> Any:
    """What is selected for all, but that it changes on its way to one of them."""
    mask = sharing.led(work)
    return Mask({name: ~keep for name, keep in mask.items()}) if RANK else mask


class Deadly(ticketkit.Criterion):
    """Ends the process that asks it."""

    name = "deadly"

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        os._exit(9)


def orphaned() -> Iterator[tuple[str, object]]:
    """The process that draws for all of them dies."""
    options: dict[str, Any] = {"scheme": "row", "sparsity": 0.5, "criterion": Deadly()}
    yield "orphaned", raised(lambda: ticketkit.draw(Named(), **options))


def trained() -> Iterator[tuple[str, object]]:
    """Trainings."""
    model = plain()
    yield "loss", fit(model).loss
    yield "weights", [p.flatten().tolist() for p in model.parameters()]
    mask = ticketkit.draw(network(), scheme="unstructured", sparsity=0.8).mask
    for robustifier in (None, "pgd:norm=l2,eps=0.3,steps=2", "free:replays=2"):
        model = network()
        fit(model, mask=mask, robustifier=robustifier)
        zeros = [model.get_parameter(name)[~keep] for name, keep in mask.items()]
        revived = sum(int(zero.count_nonzero()) for zero in zeros)
        yield f"held, {robustifier}", [digest(model), revived]
    linear = Named()
    ticketkit.transfer(linear, ticketkit.draw(linear, scheme="row", sparsity=0.5), pictures(53))
    yield "linear", [digest(linear), linear.get_parameter("fc.weight").tolist()]
    ours = ticketkit.draw(plain(), scheme="unstructured", sparsity=0.5).mask
    if RANK:
        ours = ours & ours.__class__({n: torch.rand(k.shape) < 0.5 for n, k in ours.items()})
    yield "other masks", raised(lambda: fit(plain(), mask=ours))
    yield "other seeds", raised(lambda: fit(plain(), seed=RANK))
    yield "too few", raised(lambda: ticketkit.fit(plain(), pictures(1), schedule=SCHEDULE))


def learned() -> Iterator[tuple[str, object]]:
    """A mask that is learned, from the scores of the leading process."""
    job = Learner(Named(), "kernel", 0.5)
    with job.learning(job.random_scores(RANK)) as model:
        model.mask()  # of what is then replaced
        fit(model, schedule=replace(SCHEDULE, optimizer="adam"), robustifier=ATTACK)
        yield "learned", [digest(model), digest_of_mask(model.mask()), model.mask().kept]


ATTACK = "pgd:norm=l2,eps=0.3,steps=2"


def resumed() -> Iterator[tuple[str, object]]:
    """One is asked to stop, after each of some steps; all stop there, and go on."""
    whole = network()
    fit(whole, robustifier=ATTACK)  # which looks at the network in eval mode, as saved or not
    yield "unbroken", digest(whole)
    for step in (1, 6, 11):
        run = FOLDER / f"run{step}"
        yield f"stopped {step}", raised(partial(_stopped, step, run))
        model = network()
        fit(model, run=run, resume=True, robustifier=ATTACK)
        yield f"resumed {step}", digest(model)


def rounds() -> Iterator[tuple[str, object]]:
    """Draws that train in rounds."""
    yield "imp", _in_rounds().encoded().hex()
    run = FOLDER / "imp"
    calls = iter([None] * 3 + [75 if RANK else None])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ticketkit.stopping._requested", lambda: next(calls))
        yield "imp stopped", raised(lambda: _in_rounds(run=run))
    yield "imp resumed", _in_rounds(run=run, resume=True).encoded().hex()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ticketkit.jobs.led", _torn)
        yield "imp torn", raised(_in_rounds)
    yield "imp of others", raised(lambda: _in_rounds(Named(seed=RANK)))


def _in_rounds(model: nn.Module | None = None, **options: Any) -> ticketkit.Ticket:
    return ticketkit.draw(
        model or Named(),
        scheme="unstructured",
        sparsity=0.5,
        strategy="imp",
        data=pictures(53),
        schedule=SCHEDULE,
        robustifier=ATTACK,
        **options,
    )


def _stopped(step: int, run: Path) -> None:
    """Train until the last process is asked to stop."""
    calls = iter([None] * (step - 1) + [75 if RANK else None])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ticketkit.stopping._requested", lambda: next(calls))
        fit(network(), run=run, robustifier=ATTACK)


if __name__ == "__main__":
    torch.set_num_threads(1)
    scenes = sys.argv[2:]
    found: dict[str, object] = {}
    with session(torch.device("cpu")):
        for scene in scenes:
            found.update(globals()[scene]())
        (FOLDER / f"{RANK}.json").write_text(json.dumps(found), encoding="utf-8")
