"""Real data sets in small, and no network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.tasks.real_files import WRITERS

Made = Callable[[str], Path]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The folder of all data of a task, which is made when it is first asked for."""
    folders: dict[str, Path] = {}

    def find(task: str) -> Path:
        if task not in folders:
            folders[task] = tmp_path_factory.mktemp("data") / "all"
            WRITERS[task](folders[task])
        return folders[task]

    return find


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the network fails."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
