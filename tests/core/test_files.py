"""Inputs that are no files, and outputs that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.samples import check_message, file_size_limit, leftovers, names, wait_for
from ticketkit import InputError, OutputError, locks
from ticketkit.files import check_input, reserve, sha256


def write(path: Path, data: bytes) -> None:
    with reserve(path) as output, output.writing(len(data)) as file:
        file.write(data)


def test_the_digest_is_that_of_all_pieces() -> None:
    assert sha256() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256(b"a", memoryview(b"bc")) == sha256(b"abc")


# --- inputs: fault rows 1 and 2


def test_the_size_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert check_input(tmp_path / "x") == 3


def test_what_is_not_there_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.pt: no such file"):
        check_input(tmp_path / "nothing.pt")


def test_a_folder_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder, where a file was expected"):
        check_input(tmp_path)


def test_a_pipe_is_no_input_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe: not a regular file \(a pipe or a device\)"):
        check_input(tmp_path / "pipe")


def test_a_device_is_no_input() -> None:
    with pytest.raises(InputError, match="not a regular file"):
        check_input(Path(os.devnull))


def test_an_empty_file_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "x.pt").touch()
    with pytest.raises(InputError, match=r"x\.pt: empty file, 0 bytes"):
        check_input(tmp_path / "x.pt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"abc")
    (tmp_path / "x.pt").chmod(0)
    with pytest.raises(InputError, match=r"x\.pt: not readable"):
        check_input(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/x.pt", "Not a directory"),
        ("loop", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
        ("nul\0.pt", "embedded null byte"),
        ("new\nline", r"new\\nline: no such file"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_in_one_line(
    name: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match=reason) as caught:
        check_input(tmp_path / name)
    assert "\n" not in str(caught.value)


# --- outputs


def test_an_output_stands_when_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with reserve(path) as output:
        with output.writing(3) as file:
            file.write(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert leftovers(tmp_path) == []


def test_a_reservation_without_writing_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    for name in ("old", "new"):
        with reserve(tmp_path / name):
            pass
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("late", [False, True])
def test_an_error_leaves_the_old_file_and_no_other(
    error: BaseException, late: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail() -> None:
        with reserve(path) as output:
            with output.writing(3) as file:
                file.write(b"new")
                if not late:
                    raise error
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_of_two_outputs_both_appear_or_neither(tmp_path: Path) -> None:
    def write_both() -> None:
        with reserve(tmp_path / "one") as first, reserve(tmp_path / "two") as second:
            for output, size in ((first, 3), (second, 2000)):
                with output.writing(size) as file:
                    file.write(bytes(size))

    with pytest.raises(OutputError), file_size_limit(1000):
        write_both()
    assert names(tmp_path) == []


def test_an_output_can_be_written_twice_and_the_last_counts(tmp_path: Path) -> None:
    with reserve(tmp_path / "x") as output:
        for data in (b"longer", b"short"):
            with output.writing(6) as file:
                file.write(data)
    assert (tmp_path / "x").read_bytes() == b"short"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_of_a_new_file_follows_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "x", b"abc")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name, target in [("link", "there/file"), ("dangling", "there/new")]:
        (tmp_path / name).symlink_to(target)
    (tmp_path / "there/file").write_bytes(b"old")
    for name in ("link", "dangling"):
        write(tmp_path / name, b"abc")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == b"abc"
    assert names(tmp_path / "there") == ["file", "new"]


def test_a_second_name_of_the_old_file_keeps_its_contents(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    os.link(tmp_path / "x", tmp_path / "other")
    write(tmp_path / "x", b"new")
    assert (tmp_path / "other").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["x" * 251 + ".pt", "模" * 80, "ö" * 120, " ", "a b\n"])
def test_long_and_strange_names_are_written(name: str, tmp_path: Path) -> None:
    # fault row 55
    write(tmp_path / name, b"abc")
    assert names(tmp_path) == [name]


def test_long_names_that_differ_at_the_end_alone_do_not_meet(tmp_path: Path) -> None:
    # fault row 55
    one, two = (tmp_path / ("x" * 240 + end) for end in (".one", ".two"))
    with reserve(one) as first, reserve(two) as second:
        for output in (first, second):
            with output.writing(3) as file:
                file.write(output.path.suffix.encode())
    assert (one.read_bytes(), two.read_bytes()) == (b".one", b".two")


# --- fault row 50


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere/x", "not written: no such folder; what was there is untouched"),
        ("file/x", "not written: no such folder"),
        ("x" * 300, "not written: File name too long"),
        ("folder", "folder: a folder, where a file is to be written"),
        ("pipe", "pipe: a pipe or a device, where a file is to be written"),
        ("device", "null: a pipe or a device, where a file is to be written"),
        ("loop", "Too many levels of symbolic links"),
    ],
)
def test_an_output_that_cannot_be_written_is_told(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to(os.devnull)
    (tmp_path / "loop").symlink_to("loop")
    before = names(tmp_path)
    with pytest.raises(OutputError, match=reason):
        write(tmp_path / name, b"abc")
    assert names(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="not written: Permission denied"):
        write(tmp_path / "x", b"abc")


def test_a_quota_leaves_the_old_file_and_tells_the_bytes_needed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with (
        pytest.raises(OutputError, match=r"not written: File too large \(20,000 bytes are needed"),
        file_size_limit(10_000),
    ):
        write(path, bytes(20_000))
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_the_old_file_and_tells_the_bytes_needed(full: Path) -> None:
    path = full / "x"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"No space left on device \(100,000 bytes are needed\)"):
        write(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert leftovers(full) == []


def test_a_disk_that_is_full_already_can_be_locked_all_the_same(full: Path) -> None:
    with contextlib.suppress(OSError):
        (full / "all of it").write_bytes(bytes(2**20))
    with pytest.raises(OutputError, match="No space left on device"):
        write(full / "x", b"abc")
    assert names(full) == ["all of it"]


# --- fault row 53


def test_a_second_run_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with reserve(path) as output:
        for _ in range(2):
            with pytest.raises(OutputError) as caught:
                write(path, b"second")
            assert str(caught.value) == (
                f"{path}: another run is writing it (ticketkit pid {os.getpid()} on "
                f"{socket.gethostname()})"
            )
            with output.writing(5) as file:
                file.write(b"first")
    assert path.read_bytes() == b"first"
    write(path, b"second")
    assert path.read_bytes() == b"second"


def test_runs_under_two_names_of_one_file_meet(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("x")
    with reserve(tmp_path / "x"), pytest.raises(OutputError, match="another run"):
        write(tmp_path / "link", b"abc")


def test_of_many_runs_at_once_each_writes_a_whole_file_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    outcomes: list[str] = []

    def attempt(letter: str) -> None:
        for _ in range(40):
            try:
                write(path, letter.encode() * 5000)
                outcomes.append("written")
            except OutputError as error:
                check_message(error)
                outcomes.append("refused")
            assert not path.exists() or len(set(path.read_bytes())) == 1

    threads = [threading.Thread(target=attempt, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 160
    assert "written" in outcomes
    assert len(path.read_bytes()) == 5000
    assert leftovers(tmp_path) == []


HOLDER = """
import sys, time
from pathlib import Path
from ticketkit.files import reserve
with reserve(Path(sys.argv[1])) as output, output.writing(9) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_run_left_is_swept_by_the_next(tmp_path: Path) -> None:
    # fault row 51
    path = tmp_path / "x"
    path.write_bytes(b"old")
    killed = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    killed.stdout.readline()
    with pytest.raises(OutputError, match=f"pid {killed.pid} on"):
        write(path, b"new")
    killed.kill()
    killed.wait()
    killed.stdout.close()
    assert leftovers(tmp_path) == [".x.ticketkit-lock", ".x.ticketkit-partial"]
    assert path.read_bytes() == b"old"
    before = os.umask(0o077)
    try:
        write(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert leftovers(tmp_path) == []


def test_without_locks_outputs_are_still_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "fcntl", None)  # as on Windows
    path = tmp_path / "x"

    def overtaken() -> None:
        with reserve(path) as first:
            with first.writing(5) as file:
                file.write(b"first")
            write(path, b"second")

    with pytest.raises(OutputError, match="another run is writing it"):
        overtaken()
    assert path.read_bytes() == b"second"
    with (
        pytest.raises(OutputError, match="a broken disk"),
        reserve(path) as third,
        third.writing(5),
    ):
        raise OSError(errno.EIO, "a broken disk")
    assert path.read_bytes() == b"second"
    assert leftovers(tmp_path) == []


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    for kind in ("lock", "partial"):
        (tmp_path / f".x.ticketkit-{kind}").symlink_to("precious")
        with contextlib.suppress(OutputError):
            write(tmp_path / "x", b"abc")
        assert (tmp_path / "precious").read_bytes() == b"precious"
        for path in tmp_path.glob(".x.*"):
            path.unlink()


def test_waiting_is_not_needed_for_a_lock_that_was_let_go(tmp_path: Path) -> None:
    with reserve(tmp_path / "x"):
        assert leftovers(tmp_path) == [".x.ticketkit-lock"]
    wait_for(lambda: not leftovers(tmp_path))
