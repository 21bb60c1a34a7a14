"""Results in folders: which files are read, which are passed over and why."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import ticketkit
from tests.result_documents import results, transfer_document, write_run
from ticketkit.resultfolders import read_results

DOCUMENT = transfer_document(0.9, 0, None, results(0.5))


def read(path: Path) -> tuple[list[str], list[str]]:
    """Names of what was read, relative to the path, and the notes."""
    found = read_results(path)
    return [os.path.relpath(each.path, path) for each in found.documents], found.notes


def test_a_run_a_folder_of_runs_and_a_file_are_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "deep/er/run", DOCUMENT)
    (run / "other.json").write_text("{}")  # of the run itself
    (tmp_path / "deep/loose.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "deep/notes.txt").write_text("{}")
    for path in (run, run / "result/result.json"):
        found = read_results(path)
        assert [each.path for each in found.documents] == [str(run / "result/result.json")]
        assert found.documents[0].content == DOCUMENT
        assert found.notes == []
    assert read(tmp_path) == (["deep/loose.json", "deep/er/run/result/result.json"], [])


def test_links_are_noted_and_what_is_hidden_is_passed_over(tmp_path: Path) -> None:
    write_run(tmp_path / "elsewhere/run", DOCUMENT)
    (tmp_path / "elsewhere/a.json").write_text("{}")
    folder = tmp_path / "folder"
    write_run(folder / ".hidden/run", DOCUMENT)
    (folder / ".hidden.json").write_text("{}")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "linked.json").symlink_to(tmp_path / "elsewhere/a.json")
    (folder / "round").symlink_to(folder)
    assert read(folder) == (
        [],
        [
            f"passed over: {folder}/{name}: a link, which is not followed"
            for name in ("linked", "linked.json", "round")
        ],
    )
    (tmp_path / "named").symlink_to(tmp_path / "elsewhere/run")  # its user named this one
    assert read(tmp_path / "named") == (["result/result.json"], [])


def test_a_run_that_is_not_finished_is_noted_and_a_draw_is_not(tmp_path: Path) -> None:
    write_run(tmp_path / "going", None)
    write_run(tmp_path / "drawn", None, command="prune")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/run.json").write_text("{")
    documents, notes = read(tmp_path)
    assert documents == []
    assert sorted(notes) == [
        f"passed over: {tmp_path}/{name}: a run that is not finished"
        for name in ("broken", "going")
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "empty file, 0 bytes"),
        (json.dumps(DOCUMENT).encode()[:-9], "is no JSON"),
        (b"[1]", "is no JSON object"),
        (b"\xff\xfe", "is no JSON"),
        (b"[" * 10**5, "is no JSON"),
        (b'{"a": 1, "a": 2}', "has twice: a"),
    ],
)
def test_what_is_no_json_is_told(text: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text)
    documents, notes = read(tmp_path)
    assert (documents, len(notes)) == ([], 1)
    assert f"{tmp_path}/a.json" in notes[0]
    assert told in notes[0]


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)  # of holes
    assert "at most 67,108,864 bytes, found 1,099,511,627,776" in read(tmp_path)[1][0]


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    assert "not a regular file" in read(tmp_path)[1][0]


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ticketkit.InputError, match="no\\\\x1bthing: no such file or folder"):
        read_results(tmp_path / "no\x1bthing")
