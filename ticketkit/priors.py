"""The pretrained weights that a prior chooses for a task, a network and a way to transfer."""

from __future__ import annotations

from typing import Any, cast

from ticketkit.blame import blamed
from ticketkit.checkpoint import Checkpoint
from ticketkit.errors import UsageError
from ticketkit.options import resolve, spec_of
from ticketkit.parts import Prior, PriorChoice

MODES = ("finetune", "linear")


def chosen_by(prior: str | Prior, task: str | None, arch: str | None, mode: str) -> PriorChoice:
    """What a prior chooses; a `UsageError` where it is not told enough."""
    part = cast("Prior", resolve("prior", prior))
    if task is None or arch is None:
        raise UsageError(
            f"prior {part.name} chooses by the downstream task and the network: give --task and "
            "--arch"
        )
    if mode not in MODES:
        raise UsageError(f"mode is one of {', '.join(MODES)}; found {mode!r}")
    name = resolve("task", task).name
    with blamed(part):
        choice = part.choose(name, str(arch), mode)
        if not isinstance(choice, PriorChoice):
            kind = type(choice).__name__
            raise TypeError(f"choose returned {kind}, where a ticketkit.PriorChoice is expected")
    return PriorChoice(choice.path, choice.why, spec_of(part))


def told_of(choice: PriorChoice) -> dict[str, Any]:
    """What documents tell of a choice."""
    return {"prior": choice.prior, "path": str(choice.path), "why": choice.why}


def notes_of(choice: PriorChoice, checkpoint: Checkpoint) -> list[str]:
    """What a reader should know of a choice, a sentence each."""
    notes = [f"prior {choice.prior}: {choice.path.name}: {choice.why}"]
    if not checkpoint.normalisation():
        notes.append("the file tells no normalisation of the network's inputs: none is applied")
    return notes
