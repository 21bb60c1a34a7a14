"""The checkpoint that a command works on: the file that was named, or the one a prior chooses."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ticketkit.blame import blamed
from ticketkit.errors import CheckpointError, UsageError, near, printable, some
from ticketkit.options import resolve, spec_of
from ticketkit.parts import Prior, PriorChoice


@dataclass(frozen=True)
class Source:
    """A checkpoint, and how it was chosen."""

    path: Path
    prior: dict[str, Any] | None = None
    """What is told of the prior that chose it; None for a file that was named."""


def source_of(
    file: Path | None, prior: str | None, *, task: str | None, arch: str | None, mode: str
) -> Source:
    """The file that was named, or else the one that a prior chooses for a task.

    Raises a `UsageError` unless one of the two is given, and a `CheckpointError` that names the
    files there are where the prior's is missing.
    """
    if (file is None) == (prior is None):
        found = "neither" if file is None else "both"
        raise UsageError(
            f"give the checkpoint FILE, or a --prior that chooses it: found {found} of them"
        )
    if prior is None:
        return Source(cast("Path", file))
    check_mode(mode)
    part = cast("Prior", resolve("prior", prior))
    name = None if task is None else resolve("task", task).name
    with blamed(part):
        choice = _checked(part.checkpoint(name, arch, mode))
    _check_there(choice.path, part.name)
    return Source(choice.path, _told(part, choice))


def check_mode(mode: str) -> None:
    """Raise a `UsageError` unless `mode` is one that a ticket is transferred in."""
    if mode not in ("finetune", "linear"):
        raise UsageError(f"mode is one of finetune, linear; found {mode!r}")


def _checked(choice: object) -> PriorChoice:
    if not isinstance(choice, PriorChoice):
        kind = type(choice).__name__
        raise TypeError(f"checkpoint must return a ticketkit.PriorChoice, found {kind}")
    if not isinstance(choice.path, Path) or not isinstance(choice.reason, str):
        raise TypeError(f"a choice is of a Path, for a reason in words: found {choice!r}")
    if choice.eps is not None and not 0 <= choice.eps < math.inf:
        raise ValueError(f"eps of a choice is None or a finite number of 0 or more: {choice.eps!r}")
    return choice


def _check_there(path: Path, prior: str) -> None:
    """Refuse a file that is missing, and say what is there instead."""
    if os.path.lexists(path):
        return
    folder, wanted = printable(str(path.parent)), printable(path.name)
    try:
        there = sorted(entry.name for entry in path.parent.iterdir())
    except OSError as error:
        reason = "no such folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise CheckpointError(
            f"{folder}: {reason}; prior {prior} expects {wanted} there"
        ) from error
    listed = some(there, 12) or "nothing"
    raise CheckpointError(
        f"{folder}: prior {prior} expects {wanted} there, found {listed}{near(wanted, there)}"
    )


def _told(part: Prior, choice: PriorChoice) -> dict[str, Any]:
    return {
        "spec": spec_of(part),
        "path": str(choice.path),
        "eps": choice.eps,
        "reason": choice.reason,
        "notes": list(choice.notes),
    }
