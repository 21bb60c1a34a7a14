"""Opening a run: new, gone on with, refused; and who holds it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.samples import check_message, file_size_limit, names
from ticketkit import InputError, OutputError, UsageError
from ticketkit.runs import check_run, default_run, open_run

RECIPE: dict[str, Any] = {"seed": 0, "fit": {"lr": 0.1, "epochs": 3}, "rates": [0.2, 0.4]}


def begin(path: Path, **environment: Any) -> None:
    with (
        open_run(path, RECIPE, resume=False, environment=environment) as run,
        run.stage("step-1") as folder,
    ):
        (folder / "data").write_bytes(b"one")


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def refused(path: Path, recipe: dict[str, Any], kind: type[Exception], *, resume: bool) -> str:
    before = contents(path) if path.is_dir() else path.read_bytes()
    with pytest.raises(kind) as caught, open_run(path, recipe, resume=resume):
        pass
    assert (contents(path) if path.is_dir() else path.read_bytes()) == before
    check_message(caught.value)
    return str(caught.value)


def test_a_new_run_makes_its_folder_and_records_its_recipe(tmp_path: Path) -> None:
    with open_run(tmp_path / "a" / "b", RECIPE, resume=False, environment={"threads": 2}) as run:
        assert run.stages("step-") == []
        assert run.newest("step-") is None
        assert run.notes == []
    record = json.loads((tmp_path / "a" / "b" / "run.json").read_text())
    assert record["schema"] == 1
    assert record["recipe"] == RECIPE
    assert record["environment"] == {"threads": 2}
    assert names(tmp_path / "a" / "b") == ["events.jsonl", "run.json"]
    assert default_run("pretrain", RECIPE) == Path("runs") / f"pretrain-{record['sha256'][:12]}"


def test_a_recipe_is_the_same_in_whatever_order_it_stands() -> None:
    turned = {"rates": (0.2, 0.4), "fit": {"epochs": 3, "lr": 0.1}, "seed": 0}
    assert default_run("x", RECIPE) == default_run("x", turned)
    assert default_run("x", RECIPE) != default_run("x", {**RECIPE, "seed": 1})
    assert default_run("x", RECIPE) != default_run("x", {**RECIPE, "seed": 0.0})


def test_a_run_is_gone_on_with_on_request_only(tmp_path: Path) -> None:
    begin(tmp_path / "run")
    told = refused(tmp_path / "run", RECIPE, UsageError, resume=False)
    assert told == (
        f"already there: {tmp_path / 'run'}; --resume goes on with it, --run names another"
    )
    with open_run(tmp_path / "run", RECIPE, resume=True) as run:
        assert [stage.name for stage in run.stages("step-")] == ["step-1"]


def test_the_same_command_line_with_resume_begins_and_goes_on(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        with open_run(tmp_path / "run", RECIPE, resume=True) as run:
            assert len(run.stages("step-")) == number - 1
            with run.stage(f"step-{number}"):
                pass


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_no_run_is_refused_and_untouched(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    told = refused(tmp_path, RECIPE, UsageError, resume=resume)
    assert "no run, but a folder that holds thesis.tex; --run names another" in told
    assert names(tmp_path) == ["thesis.tex"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    assert "a file, where a folder" in refused(tmp_path / "run", RECIPE, OutputError, resume=False)
    with (
        pytest.raises(OutputError, match="no such folder"),
        open_run(tmp_path / "run" / "inner", RECIPE, resume=False),
    ):
        pass


def test_what_a_start_that_was_killed_left_is_no_strangers_file(tmp_path: Path) -> None:
    (tmp_path / ".run.json.ticketkit-lock").touch()
    (tmp_path / ".run.json.ticketkit-partial").write_text('{"sche')
    begin(tmp_path)
    assert names(tmp_path) == ["events.jsonl", "run.json", "step-1"]


# --- what differs: fault row 54


def test_what_is_wrong_with_a_folder_can_be_told_before_the_recipe_is_known(
    tmp_path: Path,
) -> None:
    check_run(tmp_path / "new", resume=False)
    assert not (tmp_path / "new").exists()
    begin(tmp_path)
    before = sorted(tmp_path.iterdir())
    check_run(tmp_path, resume=True)
    with pytest.raises(UsageError, match=r"already there: .* --resume goes on with it"):
        check_run(tmp_path, resume=False)
    assert sorted(tmp_path.iterdir()) == before
    with open_run(tmp_path, RECIPE, resume=True), pytest.raises(OutputError, match="another run"):
        check_run(tmp_path, resume=False)
    with pytest.raises(OutputError, match="a file, where a folder is to be written"):
        check_run(tmp_path / "run.json", resume=True)


def test_another_recipe_is_refused_with_each_field_that_differs(tmp_path: Path) -> None:
    begin(tmp_path)
    other = {"seed": 1, "fit": {"lr": 0.5, "warmup": 2}, "rates": [0.2]}
    told = refused(tmp_path, other, UsageError, resume=True)
    assert told == (
        f"{tmp_path}: a run of another recipe: rates was [0.2,0.4] and is [0.2], seed was 0 and is "
        "1, fit.epochs was 3 and is not there, fit.lr was 0.1 and is 0.5, fit.warmup was not there "
        "and is 2; name another folder with --run"
    )


def test_no_more_than_five_fields_are_told(tmp_path: Path) -> None:
    with open_run(tmp_path, {f"f{i}": i for i in range(9)}, resume=False):
        pass
    told = refused(tmp_path, {f"f{i}": -1 - i for i in range(9)}, UsageError, resume=True)
    assert told.count(" was ") == 5
    assert "and 4 more" in told


def test_another_environment_is_noted(tmp_path: Path) -> None:
    begin(tmp_path, threads=2, torch="2.14.1", device={"name": "cpu"})
    environment = {"threads": 1, "torch": "2.14.1", "device": {"name": "cuda"}}
    with open_run(tmp_path, RECIPE, resume=True, environment=environment) as run:
        assert run.notes == [
            f'{tmp_path}: device.name was "cpu" and is "cuda": the bits may differ from an '
            "unbroken run's",
            f"{tmp_path}: threads was 2 and is 1: the bits may differ from an unbroken run's",
        ]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 2}', '{"schema": 1}', "null"])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    begin(tmp_path)
    (tmp_path / "run.json").write_text(text)
    assert "run.json" in refused(tmp_path, RECIPE, InputError, resume=True)


def test_an_altered_recipe_is_refused(tmp_path: Path) -> None:
    begin(tmp_path)
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 7'))
    assert "altered" in refused(tmp_path, {**RECIPE, "seed": 7}, InputError, resume=True)


def test_a_recipe_of_numbers_that_json_has_not_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="finite"),
        open_run(tmp_path / "run", {"lr": float("nan")}, resume=False),
    ):
        pass
    assert names(tmp_path) == []


# --- who holds it: fault row 53


HOLDER = """
import sys, time
from pathlib import Path
from ticketkit.runs import open_run
with open_run(Path(sys.argv[1]), {"seed": 0}, resume=True) as run:
    with run.stage("step-1") as folder:
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_run_that_is_held_is_refused_until_its_holder_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        for resume in (True, False):
            told = refused(path, {"seed": 0}, OutputError, resume=resume)
            assert told == (
                f"{path}: another run is writing it (ticketkit pid {held.pid} on "
                f"{socket.gethostname()})"
            )
            assert (path / "step-1.partial").is_dir()
        held.kill()
        held.wait()
    with open_run(path, {"seed": 0}, resume=True) as run:
        assert not (path / "step-1.partial").exists()
        assert run.stages("step-") == []
    assert names(path) == ["events.jsonl", "run.json"]


# --- no room and no right: fault row 50


def test_a_disk_that_is_full_at_the_start_leaves_nothing_that_is_taken_for_a_run(
    tmp_path: Path,
) -> None:
    with (
        file_size_limit(60),
        pytest.raises(OutputError, match="File too large"),
        open_run(tmp_path / "run", RECIPE, resume=False),
    ):
        pass
    assert names(tmp_path / "run") == []
    begin(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_output_error(tmp_path: Path) -> None:
    begin(tmp_path / "run")
    (tmp_path / "run").chmod(0o555)
    try:
        assert "Permission denied" in refused(tmp_path / "run", RECIPE, OutputError, resume=True)
    finally:
        (tmp_path / "run").chmod(0o755)


def test_a_file_system_that_is_read_only_is_an_output_error() -> None:
    with (
        pytest.raises(OutputError, match="not written"),
        open_run(Path("/proc/self/run"), RECIPE, resume=False),
    ):
        pass


def test_names_that_are_long_or_of_any_script_serve(tmp_path: Path) -> None:
    # fault row 55
    path = tmp_path / "größe 模 😀" / ("x" * 200)
    begin(path)
    with open_run(path, RECIPE, resume=True) as run:
        assert len(run.stages("step-")) == 1
