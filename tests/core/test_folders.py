"""Folders of outputs that appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import leftovers, names
from ticketkit import OutputError, locks
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


@pytest.mark.parametrize("failing", [1, 2])
def test_a_move_that_fails_brings_back_what_was_there(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "out", "a", "index", text=b"old")
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    replace, moves = Path.replace, iter(range(1, 10))

    def fail(self: Path, target: Path) -> Path:
        if next(moves) == failing:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="Input/output error; what was there is untouched"):
        fill(tmp_path / "out", "a", "b", "index")
    assert names(tmp_path / "out") == ["a", "index", "mine"]
    assert (tmp_path / "out" / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_a_run_that_is_killed_between_two_moves_loses_nothing(moves: int, tmp_path: Path) -> None:
    fill(tmp_path / "out", "a", "index", text=b"old")
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    code = f"""
import os
import subprocess
import sys
from pathlib import Path
from ticketkit.folders import reserve_folder
replace, left = Path.replace, {moves}
def move(self, target):
    global left
    if not left:
        os._exit(9)
    left -= 1
    return replace(self, target)
Path.replace = move
with reserve_folder(Path("out")) as output:
    for name in ("a", "b", "index"):
        with output.writing(name, 3) as file:
            file.write(b"new")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert done.returncode == (9 if moves < 3 else 0)
    fill(tmp_path / "other", "x")  # a run beside it changes nothing
    with reserve_folder(tmp_path / "out"):
        pass  # the next run tidies up
    found = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    old = {"a": b"old", "index": b"old", "mine": b"mine"}
    new = {"a": b"new", "b": b"new", "index": b"new", "mine": b"mine"}
    assert found == (old if moves < 2 else new)
    assert names(tmp_path) == ["other", "out"]


def test_a_folder_in_the_place_of_a_file_is_replaced_by_it(tmp_path: Path) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    with reserve_folder(tmp_path / "out") as output, output.writing("a", 3) as file:
        file.write(b"new")
    assert (tmp_path / "out" / "a").read_bytes() == b"new"


def write_beside_another_run(path: Path) -> None:
    with reserve_folder(path) as output:
        with output.writing("a", 3) as file:
            file.write(b"one")
        fill(path, "a", text=b"two")


def test_files_that_another_run_has_put_there_are_not_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "fcntl", None)  # a file system without locks
    with pytest.raises(OutputError, match="another run is writing it"):
        write_beside_another_run(tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"two"


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


def test_the_current_folder_is_not_pulled_from_under_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (Path(), Path(".."), Path("/")):
        with pytest.raises(OutputError, match="the current folder, or one that holds it; name"):
            folder_of(path)
