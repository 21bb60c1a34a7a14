"""Pictures that are kept in a file for the next time."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import ticketkit
from tests.core import broken
from tests.samples import leftovers, names
from ticketkit import Pictures
from ticketkit.files import reserve
from ticketkit_plugins.tasks.digits import Digits

TASK = Digits(labels=7)


class Maker:
    """Makes splits, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Pictures]:
        self.calls += 1
        images = torch.arange(2 * 3 * 4, dtype=torch.uint8).reshape(2, 1, 3, 4)
        return {
            "train": Pictures(images, torch.tensor([1, 0])),
            "test": Pictures(images + 100, images[:, 0]),
        }


def cached(folder: Path | None, make: Maker, task: ticketkit.Task = TASK) -> list[str]:
    """The digests of the splits, asked for once."""
    splits = ticketkit.cached_splits(task, folder, make, made_by=("numpy",))
    assert list(splits) == ["train", "test"]
    return [pictures.digest() for pictures in splits.values()]


EXPECTED = [pictures.digest() for pictures in Maker()().values()]


def test_the_second_call_reads_what_the_first_wrote(tmp_path: Path) -> None:
    make = Maker()
    folder = tmp_path / "not there" / "yet é"
    for _ in range(2):
        assert cached(folder, make) == EXPECTED
    assert make.calls == 1
    assert len(names(folder)) == 1
    assert names(folder)[0].startswith("digits-")
    assert not leftovers(folder)


def test_the_file_is_the_same_each_time_and_another_library_reads_it(tmp_path: Path) -> None:
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        cached(folder, Maker())
        files += list(folder.iterdir())
    assert files[0].read_bytes() == files[1].read_bytes()
    with safe_open(str(files[0]), "pt") as file:
        train = Pictures(file.get_tensor("train.images"), file.get_tensor("train.targets"))
        assert train.digest() == EXPECTED[0]


def test_what_is_read_is_a_copy_of_the_file(tmp_path: Path) -> None:
    cached(tmp_path, Maker())
    splits = ticketkit.cached_splits(TASK, tmp_path, Maker(), ("numpy",))
    splits["train"].images.zero_()
    make = Maker()
    assert cached(tmp_path, make) == EXPECTED
    assert not make.calls


def test_each_spec_and_each_version_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker()
    cached(tmp_path, make)
    cached(tmp_path, make, Digits(labels=8))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{name} 0")
    cached(tmp_path, make)
    assert make.calls == len(names(tmp_path)) == 3


def test_a_task_that_no_plugin_offers_is_not_kept(tmp_path: Path) -> None:
    make = Maker()
    for _ in range(2):
        cached(tmp_path, make, broken.Task())
    assert make.calls == 2
    assert not names(tmp_path)


def damages(data: bytes) -> list[bytes]:
    length = 8 + int.from_bytes(data[:8], "little")
    flipped = [
        data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        for at in [*range(0, length, 7), *range(length, len(data), 3)]
    ]
    return [b"", data[:7], data[:length], data[:-1], data + b"\0", b"<html>", *flipped]


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    cached(tmp_path, Maker())
    path = next(tmp_path.iterdir())
    whole = path.read_bytes()
    for damaged in damages(whole):
        path.write_bytes(damaged)
        make = Maker()
        assert cached(tmp_path, make) == EXPECTED
        assert make.calls == 1
        assert path.read_bytes() == whole


def test_a_file_of_other_contents_under_this_name_is_made_anew(tmp_path: Path) -> None:
    cached(tmp_path / "a", Maker())
    cached(tmp_path / "b", Maker(), Digits(labels=8))
    mine, other = (next((tmp_path / name).iterdir()) for name in "ab")
    other.replace(mine)
    make = Maker()
    cached(tmp_path / "a", make)
    assert make.calls == 1


def test_a_pipe_in_its_place_does_not_block(tmp_path: Path) -> None:
    cached(tmp_path, Maker())
    path = next(tmp_path.iterdir())
    path.unlink()
    os.mkfifo(path)
    assert cached(tmp_path, Maker()) == EXPECTED


@pytest.mark.parametrize("where", ["file", "file/below", "long" * 100, "/proc/ticketkit"])
def test_where_nothing_can_be_written_work_goes_on(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    make = Maker()
    for _ in range(2):
        assert cached(tmp_path / where, make) == EXPECTED
    assert make.calls == 2


def test_a_read_only_folder_is_read_and_not_written(tmp_path: Path) -> None:
    cached(tmp_path, Maker())
    tmp_path.chmod(0o500)
    try:
        make = Maker()
        cached(tmp_path, make)
        assert not make.calls
        assert cached(tmp_path, make, Digits(labels=8)) == EXPECTED
    finally:
        tmp_path.chmod(0o700)


def test_a_second_run_goes_on_while_the_first_one_writes(tmp_path: Path) -> None:
    other = Maker()

    class Both(Maker):
        def __call__(self) -> dict[str, Pictures]:
            cached(tmp_path, other)
            return super().__call__()

    both = Both()
    assert cached(tmp_path, both) == EXPECTED
    assert (both.calls, other.calls) == (1, 1)
    path = next(tmp_path.iterdir())
    with reserve(path):
        path.unlink()
        assert cached(tmp_path, other) == EXPECTED
    assert other.calls == 2


def test_the_user_s_cache_folder_is_where_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg ü"))
    cached(None, Maker())
    assert len(names(tmp_path / "xdg ü" / "ticketkit")) == 1
    for relative in ("", "relative/folder"):  # ignored, as the specification has it
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        cached(None, Maker())
        assert names(tmp_path) == ["xdg ü"]  # no home folder is made
    (tmp_path / "home").mkdir()
    cached(None, Maker())
    assert len(names(tmp_path / "home" / ".cache" / "ticketkit")) == 1


HOMELESS = """
import os, pwd, sys
def getpwuid(number):
    raise KeyError(number)
pwd.getpwuid = getpwuid
import ticketkit
task = ticketkit.resolve("task", "digits:labels=50")
make = lambda: task.splits(None)
print(ticketkit.cached_splits(task, None, make)["train"].digest())
"""


@pytest.mark.slow
def test_without_a_home_work_goes_on(tmp_path: Path) -> None:
    environment = {n: v for n, v in os.environ.items() if n not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS],
        cwd=tmp_path,
        env={**environment, "LANG": "C", "LC_ALL": "C"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == Digits(labels=50).splits(None)["train"].digest(), done.stderr
    assert not names(tmp_path)
