"""Folders of outputs that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.samples import leftovers, names
from ticketkit import OutputError
from ticketkit.folders import folder_of, reserve_folder


def fill(path: Path, *files: str, text: bytes = b"new") -> None:
    with reserve_folder(path) as output:
        for name in files:
            with output.writing(name, 3) as file:
                file.write(text)
            assert not (path / name).exists() or (path / name).read_bytes() != text


def fill_and_fail(path: Path) -> None:
    with reserve_folder(path) as output:
        with output.writing("a", 3) as file:
            file.write(b"new")
        raise ZeroDivisionError


def test_the_files_appear_together(tmp_path: Path) -> None:
    fill(tmp_path / "out", "a", "b", "index")
    assert names(tmp_path / "out") == ["a", "b", "index"]
    assert names(tmp_path) == ["out"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fill_and_fail(tmp_path / "out")
    assert names(tmp_path) == []


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    fill(tmp_path / "out", "a", "index", text=b"old")
    with pytest.raises(ZeroDivisionError):
        fill_and_fail(tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["out"]


def test_files_that_are_not_written_stay(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    fill(tmp_path / "out", "a", "index", text=b"old")
    fill(tmp_path / "out", "a", "index")
    assert names(tmp_path / "out") == ["a", "index", "mine"]
    assert (tmp_path / "out" / "a").read_bytes() == b"new"


def test_a_folder_in_which_only_some_files_were_replaced_has_no_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "out", "a", "b", "index", text=b"old")
    moved: list[str] = []
    replace = Path.replace

    def fail_at_the_third(self: Path, target: Path) -> Path:
        moved.append(self.name)
        if target.parent.name == "out" and target.name == "b":
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_third)
    with pytest.raises(OutputError, match="Input/output error"):
        fill(tmp_path / "out", "a", "b", "index")
    assert names(tmp_path / "out") == ["a", "b"]


def test_what_a_killed_run_left_is_not_taken_for_an_output(tmp_path: Path) -> None:
    left = tmp_path / ".out.ticketkit-partial"
    left.mkdir()
    (left / "stale").write_bytes(b"old")
    fill(tmp_path / "out", "a")
    assert names(tmp_path / "out") == ["a"]
    assert leftovers(tmp_path) == []


def test_nothing_written_is_no_folder(tmp_path: Path) -> None:
    fill(tmp_path / "out")
    assert names(tmp_path) == []


def test_two_runs_do_not_write_one_folder(tmp_path: Path) -> None:
    with (
        reserve_folder(tmp_path / "out"),
        pytest.raises(
            OutputError, match=rf"another run is writing it \(ticketkit pid {os.getpid()}"
        ),
        reserve_folder(tmp_path / "out"),
    ):
        pass


def test_a_link_to_a_folder_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    fill(tmp_path / "link", "a")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["a"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file, where a folder is to be written"):
        folder_of(tmp_path / "file")


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder_of(Path()) == tmp_path.resolve()
