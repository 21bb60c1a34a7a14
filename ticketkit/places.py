"""Where data lies: the folder that a user names, or the cache."""

from __future__ import annotations

import os
from pathlib import Path

from ticketkit.errors import InputError, UsageError, printable
from ticketkit.parts import Task, brings


def cache_folder() -> Path | None:
    """The user's cache folder for ticketkit; None where the user has no home."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # the specification has others ignored
        return named / "ticketkit"
    try:
        home = Path.home()
        return home / ".cache" / "ticketkit" if home.is_dir() else None
    except (OSError, RuntimeError):
        return None


def data_folder(root: Path | None) -> Path:
    """The folder in which data lies: `root`, or else the user's cache folder.

    A `UsageError` where there is neither.
    """
    folder = root or cache_folder()
    if folder is None:
        raise UsageError("there is no home folder for a cache: --data names the data's folder")
    return folder


def located(task: Task, root: Path | None, *names: str) -> Path:
    """The folder of all data, in which these files and folders of a task's lie.

    `names` are paths below it. An `InputError` that says where the first missing one was expected.
    """
    folder = data_folder(root)
    for name in names:
        if not os.path.exists(folder / name):  # noqa: PTH110  an unreadable folder has none
            fetched = ", --download fetches it" if brings(task, "download") else ""
            raise InputError(
                f"no data of {task.name}: there is no {printable(str(folder / name))}; --data "
                f"names the folder that it is in{fetched}"
            )
    return folder
