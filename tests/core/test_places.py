"""Where data lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core import broken
from ticketkit.errors import InputError, UsageError
from ticketkit.places import data_folder, located


class Fetches(broken.Task):
    """A task that can fetch its data."""

    def download(self, root: Path | None) -> None:
        """Fetch nothing."""


def test_data_is_looked_for_where_the_user_says_or_else_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_folder(Path("mine")) == Path("mine")
    assert data_folder(None) == tmp_path / "ticketkit"


def test_without_a_home_the_user_has_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="--data names"):
        data_folder(None)


def test_what_is_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert located(broken.Task(), tmp_path, "a", "a/b") == tmp_path
    assert located(broken.Task(), None, str(tmp_path)) == data_folder(None)


# Fault row 46
@pytest.mark.parametrize("name", ["c", "a/c", "file/c", "n" * 300, "a\0b", "line\nbreak"])
def test_what_is_missing_is_told_with_the_way_out(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "file").write_bytes(b"1")
    for task, offer in ((broken.Task(), False), (Fetches(), True)):
        with pytest.raises(InputError) as caught:
            located(task, tmp_path, "a", name)
        told = str(caught.value)
        assert told.startswith(f"no data of bright: there is no {tmp_path}/")
        assert told.endswith("--download fetches it" if offer else "the folder that it is in")
        assert "\n" not in told
