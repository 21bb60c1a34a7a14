"""What a file is, told before torch is imported."""

from __future__ import annotations

import os
import pickle
import re
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import (
    FORMS,
    check_message,
    little_memory,
    names,
    raw_safetensors,
    rezip,
    save,
    state,
)
from ticketkit import CheckpointError, InputError
from ticketkit.archive import form_of, globals_of, stored_bytes


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A zip file of torch.save."""
    return save(state(), tmp_path_factory.mktemp("archive"), "zip").read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        form_of(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_told_from_its_bytes(form: str, tmp_path: Path) -> None:
    path = save(state(), tmp_path, form)
    path = path.rename(tmp_path / "a name that says nothing")
    assert form_of(path) == form.removeprefix("wrapped-")


@pytest.mark.parametrize("header", [0x280, 0x380, 0x480, 0x580, 0x10280])
def test_a_header_as_long_as_a_pickle_begins_is_safetensors_all_the_same(
    header: int, tmp_path: Path
) -> None:
    text = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.ljust(header)
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw_safetensors(text, b"\1"))
    assert path.read_bytes()[:1] == b"\x80"
    assert form_of(path) == "safetensors"
    path.write_bytes(raw_safetensors(text, b"\1")[:100])
    assert refusal(path).startswith(f"truncated: expected {header + 8:,} bytes or more, found 100")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        # fault row 4
        (b"<!DOCTYPE html><html>", "an HTML page, not a checkpoint"),
        (b"\n <html><body>404", "an HTML page, not a checkpoint"),
        (b"<?xml version='1.0'?><Error>", "an XML page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"\x1f\x8b\x08\0", "a gzip file; unpack it first"),
        # fault row 2 and its kin
        (b"\0", "not a checkpoint: neither safetensors nor a file of torch.save"),
        (b"\x80", "not a checkpoint"),
        (b"PK", "not a checkpoint"),
        (b"not a checkpoint at all", r"not a checkpoint: .* \(it starts with b'not a ch'\)"),
        (b'{"error": "not found"}', "not a checkpoint"),
        (b"\xff" * 600, "not a checkpoint"),
        # fault row 3
        (struct.pack("<Q", 1000) + b'{"a":', "truncated: expected 1,008 bytes or more, found 13"),
        (b"PK\x03\x04", "truncated or damaged: the zip archive has no directory"),
    ],
)
def test_what_is_no_checkpoint_is_named_for_what_it_is(
    head: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(head)
    assert re.match(reason, refusal(path))


def test_an_empty_file_is_named_as_such(tmp_path: Path) -> None:
    # fault row 2
    (tmp_path / "x.pt").touch()
    with pytest.raises(InputError, match="empty file, 0 bytes"):
        form_of(tmp_path / "x.pt")


@pytest.mark.parametrize("cut", [1, 21, 22, 98, 500, 2000])
def test_a_truncated_archive_says_so(cut: int, archive: bytes, tmp_path: Path) -> None:
    # fault row 3
    path = tmp_path / "x.pt"
    path.write_bytes(archive[:-cut])
    assert refusal(path).startswith("truncated or damaged")
    assert "fetch it again" in refusal(path)


BUNDLE = """
import sys, pathlib
from ticketkit.cli import main
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    assert main(["prune", str(path), "--sparsity", "0.5"]) == 3, path
    assert main(["show", str(path)]) == 3, path
assert not {"torch", "ticketkit_plugins"} & set(sys.modules)
"""


def test_bad_files_are_refused_before_torch_is_imported(archive: bytes, tmp_path: Path) -> None:
    # fault rows 1, 2, 3, 4, 7
    bad = tmp_path / "bad"
    (bad / "folder.pt").mkdir(parents=True)
    os.mkfifo(bad / "pipe.pt")
    (bad / "missing.pt").symlink_to("nothing")
    (bad / "device.pt").symlink_to(os.devnull)
    (bad / "empty.pt").touch()
    (bad / "cut.pt").write_bytes(archive[:-100])
    (bad / "cut.safetensors").write_bytes(struct.pack("<Q", 1000) + b'{"a":')
    (bad / "page.pt").write_bytes(b"<html>")
    (tmp_path / "whole.pt").write_bytes(archive)
    rezip(tmp_path / "whole.pt", bad / "deflated.pt", method=zipfile.ZIP_DEFLATED)
    done = subprocess.run(
        [sys.executable, "-c", BUNDLE, bad], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 2 * len(names(bad))


# --- fault row 7: hostile archives


def patched(archive: bytes, edit: Callable[[bytearray, int], None]) -> bytes:
    """The archive with its directory edited: `edit` gets the bytes and where the directory is."""
    data = bytearray(archive)
    end = data.rfind(b"PK\5\6")
    edit(data, struct.unpack_from("<I", data, end + 16)[0])
    return bytes(data)


def entries(data: bytearray, at: int) -> list[int]:
    """Where the directory's entries are."""
    found = []
    while data[at : at + 4] == b"PK\1\2":
        found.append(at)
        name, extra, comment = struct.unpack_from("<HHH", data, at + 28)
        at += 46 + name + extra + comment
    return found


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_refused(method: int, archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(archive)
    path = rezip(tmp_path / "x.pt", tmp_path / "y.pt", method=method)
    assert refusal(path).startswith("compressed members, which torch.save never writes: ")


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("bomb/data.pkl", bytes(2**26))
    assert path.stat().st_size < 100_000
    with little_memory():
        assert refusal(path).startswith("compressed members")


def test_overlapping_members_are_refused(archive: bytes, tmp_path: Path) -> None:
    def overlap(data: bytearray, directory: int) -> None:
        first, second, *_ = entries(data, directory)
        data[second + 42 : second + 46] = data[first + 42 : first + 46]

    path = tmp_path / "x.pt"
    path.write_bytes(patched(archive, overlap))
    assert refusal(path).startswith("overlapping or inconsistent member")


def test_sizes_that_disagree_are_refused(archive: bytes, tmp_path: Path) -> None:
    def grow(data: bytearray, directory: int) -> None:
        data[directory + 24 : directory + 28] = struct.pack("<I", 2**31)

    path = tmp_path / "x.pt"
    path.write_bytes(patched(archive, grow))
    assert refusal(path).startswith("overlapping or inconsistent member")


def test_members_beyond_the_end_are_refused(archive: bytes, tmp_path: Path) -> None:
    def far(data: bytearray, directory: int) -> None:
        *_, last = entries(data, directory)
        data[last + 20 : last + 28] = struct.pack("<II", 2**30, 2**30)

    path = tmp_path / "x.pt"
    path.write_bytes(patched(archive, far))
    assert refusal(path).startswith("truncated: expected 1,073,7")


def test_a_million_members_are_refused_before_one_is_read(tmp_path: Path) -> None:
    entry = b"PK\1\2" + bytes(42) + b"x"
    count = 300_000
    directory = entry * count
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), 4)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 4 + len(directory), 1)
    path = tmp_path / "x.pt"
    path.write_bytes(b"PK\3\4" + directory + wide + locator + end)
    with little_memory():
        assert refusal(path).startswith("a zip directory of 300,000 members")


def test_a_directory_of_giant_entries_is_refused(archive: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    data = bytearray(archive)
    struct.pack_into("<Q", data, data.rfind(b"PK\6\6") + 40, 2**40)
    path.write_bytes(data)
    assert re.match(r"a zip directory of \d+ members in 1,099,511,627,776 bytes", refusal(path))


@pytest.mark.parametrize("where", ["before", "between"])
def test_an_archive_with_two_directories_is_refused(
    where: str, archive: bytes, tmp_path: Path
) -> None:
    # zipfile would read the one, torch the other.
    path = tmp_path / "x.pt"
    if where == "before":
        path.write_bytes(b"PK\3\4" + bytes(96) + archive)
    else:
        at = archive.rfind(b"PK\6\6")
        hidden = struct.pack("<Q", at - 56)
        path.write_bytes(
            archive[:at] + archive[at : at + 56] + archive[at + 56 : at + 64] + hidden
            + archive[at + 72 :]
        )  # fmt: skip
    assert refusal(path) == "the zip directory is not where the archive says it is"


@pytest.mark.parametrize("name", ["../x/data.pkl", "/x/data.pkl", "x\\data.pkl", "data.pkl"])
def test_members_that_leave_their_folder_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("x/data.pkl", b"")
        made.writestr(name, b"")
    assert refusal(path).startswith("members outside one folder: ")


def test_two_folders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("x/data.pkl", b"")
        made.writestr("y/data.pkl", b"")
    assert refusal(path) == "members outside one folder: x, y"


def test_an_archive_of_something_else_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("word/document.xml", b"")
    assert refusal(path) == "a zip archive, but not one of torch.save: no data.pkl"


def test_a_torchscript_archive_is_named_as_such(tmp_path: Path) -> None:
    # fault row 37
    path = tmp_path / "x.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)  # type: ignore[no-untyped-call]
    assert refusal(path).startswith("a TorchScript archive, which holds code; where it was made")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_happens_to_an_archive_the_answer_is_one_of_ours(
    data: st.DataObject, archive: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(archive)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(len(archive) - 1500, len(archive) - 1))] = data.draw(
            st.integers(0, 255)
        )
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(damaged)
    try:
        assert form_of(path) == "zip"
    except CheckpointError as error:
        check_message(error)


# --- what a pickle asks for, read without running it


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo",)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_globals_of_a_file_are_listed(zipped: bool, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(
        {"a": torch.ones(2), "evil": Evil()},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )
    assert {"posix.system", "torch._utils._rebuild_tensor_v2"} <= set(globals_of(path))


def test_names_that_a_pickle_remembers_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps([os.system, os.system, os.getcwd, Path], 4))
    assert globals_of(path) == ["pathlib.Path", "posix.getcwd", "posix.system"]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_has_some_globals_or_none_but_raises_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.pkl"
    path.write_bytes(b"\x80\x02" + data)
    assert isinstance(globals_of(path), list)


def test_the_bytes_of_tensors_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.ones(10), "b": torch.ones(3, dtype=torch.int8)}, path)
    assert stored_bytes(path) == 43


def test_odd_escapes_in_the_text_of_a_pickle_warn_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"\x80\x02S'\\q'\ncos\nsystem\n.")
    assert globals_of(path) == ["os.system"]
