"""Stages of a run: whole or not there, whatever is cut off, altered or lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.samples import bit_flips, check_message, file_size_limit, names
from ticketkit import InputError, OutputError, UsageError
from ticketkit.manifests import MANIFEST, Stage
from ticketkit.runs import open_run
from ticketkit.stages import Run

RECIPE = {"seed": 0}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with open_run(tmp_path / "run", RECIPE, resume=False) as opened:
        yield opened


def write(run: Run, name: str, text: str = "") -> None:
    with run.stage(name) as folder:
        (folder / "data").write_text(text or name)
        (folder / "inner").mkdir()
        (folder / "inner" / "more").write_text("more")


def again(run: Run) -> Run:
    """The run as another process sees it: nothing is known to be whole."""
    run._whole.clear()
    run.notes.clear()
    return run


def newest(run: Run, series: str = "step-") -> str | None:
    found = again(run).newest(series)
    return None if found is None else found.name


def events(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]


# --- writing and finding


def test_a_stage_appears_as_its_block_ends(run: Run) -> None:
    with run.stage("step-1") as folder:
        (folder / "data").write_text("one")
        assert run.stages("step-") == []
    assert run.stages("step-") == [Stage(run.path / "step-1")]
    assert (run.path / "step-1" / "data").read_text() == "one"
    lock = ".run.json.ticketkit-lock"
    assert names(run.path) == [lock, "events.jsonl", "run.json", "step-1"]
    assert newest(run) == "step-1"


def test_an_error_leaves_nothing_of_a_stage(run: Run) -> None:
    with pytest.raises(TypeError), run.stage("step-1") as folder:
        (folder / "data").write_text(1)  # type: ignore[arg-type]
    assert run.stages("step-") == []
    assert not [name for name in names(run.path) if name.startswith("step")]
    write(run, "step-1")


def test_stages_are_in_the_order_of_their_numbers(run: Run) -> None:
    for name in ("step-10", "step-9", "step-000011", "round-1", "round-1-step-50", "dense"):
        write(run, name)
    assert [s.name for s in run.stages("step-")] == ["step-9", "step-10", "step-000011"]
    assert [s.name for s in run.stages("round-")] == ["round-1"]
    assert newest(run) == "step-000011"
    assert newest(run, "round-1-step-") == "round-1-step-50"
    assert newest(run, "dense") == "dense"
    assert newest(run, "epoch-") is None


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".", "/a", "a.b", "step-1.partial", "step 1", "a\n", "-a", "x" * 101]
)
def test_a_name_that_leads_elsewhere_is_refused(run: Run, name: str) -> None:
    before = names(run.path)
    with pytest.raises(UsageError, match="stage's name") as caught, run.stage(name):
        pass
    check_message(caught.value)
    assert names(run.path) == before


def test_a_stage_is_never_replaced(run: Run) -> None:
    write(run, "step-1", "first")
    with pytest.raises(OutputError, match="never replaced"), run.stage("step-1"):
        pass
    assert (run.path / "step-1" / "data").read_text() == "first"
    assert newest(run) == "step-1"


def test_a_stage_knows_the_one_before_it(run: Run) -> None:
    for name in ("step-1", "round-1", "step-2"):
        write(run, name)
    manifests = {
        name: json.loads((run.path / name / MANIFEST).read_text())
        for name in ("step-1", "round-1", "step-2")
    }
    assert manifests["step-1"]["parent"] is None
    assert manifests["round-1"]["parent"] is None
    assert manifests["step-2"]["parent"]["name"] == "step-1"
    assert set(manifests["step-2"]["files"]) == {"data", "inner/more"}


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("a")])
def test_a_stage_holds_regular_files_only(run: Run, make: Callable[[Path], None]) -> None:
    with pytest.raises(OutputError, match="regular files only"), run.stage("step-1") as folder:
        make(folder / "data")
    assert run.stages("step-") == []


# --- damage


def corrupt(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def flip(path: Path) -> None:
    path.write_bytes(next(bit_flips(path.read_bytes())))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_out(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def renamed(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda m: m["files"].__setitem__(name, m["files"].pop("data"))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda s: flip(s / "data"),
    "a file cut short": lambda s: (s / "data").write_bytes(b""),
    "a file lost": lambda s: (s / "inner" / "more").unlink(),
    "a file that became a folder": lambda s: become_folder(s / "data"),
    "a file that became a link": lambda s: link_out(s / "data"),
    "no manifest": lambda s: (s / MANIFEST).unlink(),
    "an empty manifest": lambda s: (s / MANIFEST).write_bytes(b""),
    "a manifest cut short": lambda s: truncate(s / MANIFEST),
    "a manifest of bytes": lambda s: (s / MANIFEST).write_bytes(b"\xff\x00"),
    "a deep manifest": lambda s: (s / MANIFEST).write_text("[" * 100_000),
    "a manifest that is a list": lambda s: (s / MANIFEST).write_text("[]"),
    "no files": lambda s: corrupt(s / MANIFEST, lambda m: m.pop("files")),
    "files that are a list": lambda s: corrupt(s / MANIFEST, lambda m: m.update(files=["data"])),
    "a file without a size": lambda s: corrupt(s / MANIFEST, lambda m: m["files"]["data"].clear()),
    "a file that is text": lambda s: corrupt(s / MANIFEST, lambda m: m["files"].update(data="x")),
    "a newer schema": lambda s: corrupt(s / MANIFEST, lambda m: m.update(schema=2)),
    "another recipe": lambda s: corrupt(s / MANIFEST, lambda m: m.update(recipe="0" * 64)),
    "a parent that is text": lambda s: corrupt(s / MANIFEST, lambda m: m.update(parent="step-1")),
    "a parent elsewhere": lambda s: corrupt(
        s / MANIFEST, lambda m: m.update(parent={"name": "../step-1", "sha256": ""})
    ),
    "a name that leads out": lambda s: corrupt(s / MANIFEST, renamed("../step-1/data")),
    "a name that leads out and in": lambda s: corrupt(s / MANIFEST, renamed("../step-2/data")),
    "an absolute name": lambda s: corrupt(s / MANIFEST, renamed("/etc/passwd")),
    "a name with a null byte": lambda s: corrupt(s / MANIFEST, renamed("a\0b")),
    "a name that no disk takes": lambda s: corrupt(s / MANIFEST, renamed("x" * 5000)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_stage_is_set_aside_and_the_one_before_it_serves(run: Run, damage: str) -> None:
    write(run, "step-1")
    write(run, "step-2")
    DAMAGE[damage](run.path / "step-2")
    files = sorted(p.name for p in (run.path / "step-2").rglob("*"))
    opened = again(run)
    found = opened.newest("step-")
    assert found is not None
    assert found.name == "step-1"
    assert sorted(p.name for p in (run.path / "step-2.bad").rglob("*")) == files
    (note,) = opened.notes
    assert note.startswith(f"{run.path / 'step-2'} is broken and was renamed step-2.bad: ")
    assert "\n" not in note
    assert opened.newest("step-") == found
    write(opened, "step-2", "anew")
    assert newest(run) == "step-2"


def test_what_is_set_aside_twice_is_kept_twice(run: Run) -> None:
    for text in ("first", "second", "third"):
        write(run, "step-1", text)
        (run.path / "step-1" / MANIFEST).unlink()
        assert newest(run) is None
    kept = [(run.path / f"step-1.bad{n}" / "data").read_text() for n in ("", "2", "3")]
    assert kept == ["first", "second", "third"]


def test_a_file_beside_its_own_is_no_fault(run: Run) -> None:
    write(run, "step-1")
    (run.path / "step-1" / ".DS_Store").write_text("a visitor")
    assert newest(run) == "step-1"


def test_a_stage_of_another_run_of_this_recipe_is_not_taken_for_the_next(
    run: Run, tmp_path: Path
) -> None:
    write(run, "step-1")
    with open_run(tmp_path / "other", RECIPE, resume=False) as other:
        write(other, "step-1", "something else")
        write(other, "step-2")
    (tmp_path / "other" / "step-2").rename(run.path / "step-2")
    opened = again(run)
    assert opened.newest("step-") == Stage(run.path / "step-1")
    assert "it did not come from step-1 as it is here" in opened.notes[0]


@pytest.mark.parametrize("damage", ["data", MANIFEST])
def test_damage_to_the_stage_before_is_no_fault_of_the_next(run: Run, damage: str) -> None:
    write(run, "step-1")
    write(run, "step-2")
    flip(run.path / "step-1" / damage)
    assert newest(run) == "step-2"


def test_parents_that_run_in_a_circle_end(run: Run) -> None:
    for name, other in (("step-1", "step-2"), ("step-2", "step-1")):
        write(run, name)
        path = run.path / name / MANIFEST
        manifest = json.loads(path.read_text())
        path.write_text(json.dumps({**manifest, "parent": {"name": other, "sha256": "0"}}))
    assert newest(run) == "step-1"  # step-2 contradicts it, and nothing is left that does


def test_a_stage_that_may_not_be_read_is_not_set_aside(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(run, "step-1")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        again(run).newest("step-")
    assert (run.path / "step-1").is_dir()


# --- dropping


def test_only_the_last_stages_are_kept(run: Run) -> None:
    for number in range(1, 6):
        write(run, f"step-{number}")
        write(run, f"round-{number}")
        run.keep("step-", last=2)
    assert [s.name for s in run.stages("step-")] == ["step-4", "step-5"]
    assert len(run.stages("round-")) == 5
    assert newest(run) == "step-5"
    with pytest.raises(UsageError, match="at least"):
        run.keep("step-", last=0)


def test_the_newest_whole_stage_is_never_dropped(run: Run) -> None:
    for number in range(1, 6):
        write(run, f"step-{number}")
    for number in (3, 4, 5):
        flip(run.path / f"step-{number}" / "data")
    again(run).keep("step-", last=1)
    assert [s.name for s in run.stages("step-")] == ["step-2", "step-5"]
    assert newest(run) == "step-2"


# --- events


def test_events_are_lines_and_numbers_that_are_not_finite_are_null(run: Run) -> None:
    run.event(
        "epoch", epoch=1, loss=0.1 + 0.2, parts=[float("nan"), {"a": float("-inf")}], name="ü"
    )
    (line,) = events(run)
    assert line == {
        "event": "epoch",
        "epoch": 1,
        "loss": 0.1 + 0.2,
        "parts": [None, {"a": None}],
        "name": "ü",
    }


def test_events_after_the_stage_that_is_gone_on_from_are_forgotten(run: Run) -> None:
    for number in (1, 2):
        run.event("epoch", epoch=number)
        write(run, f"step-{number}")
    run.event("epoch", epoch=3)
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"event": "epo')  # killed
    with contextlib.closing(Run(run.path, "", [])) as opened:
        assert [e.get("epoch") for e in events(run)] == [1, None, 2, None, 3]
        shutil.rmtree(run.path / "step-2")
        opened.rewind_events()
        assert events(run) == [{"event": "epoch", "epoch": 1}, {"event": "stage", "name": "step-1"}]
        opened.event("epoch", epoch=2)
        assert events(run)[-1] == {"event": "epoch", "epoch": 2}
        opened.discard("step-")
        opened.rewind_events()
        assert events(run) == []


def test_lost_events_cost_no_more_than_themselves(run: Run) -> None:
    write(run, "step-1")
    (run.path / "events.jsonl").write_text('{"event": "mine"}\nno json\n')
    opened = again(run)
    opened.rewind_events()
    opened.event("epoch", epoch=2)
    assert (run.path / "events.jsonl").read_text() == (
        '{"event": "mine"}\nno json\n{"event": "epoch", "epoch": 2}\n'
    )


def test_an_event_that_finds_no_room_leaves_no_half_line(run: Run) -> None:
    # fault row 50
    run.event("epoch", epoch=1)
    with file_size_limit(50), pytest.raises(OutputError, match=r"events.jsonl: .*File too large"):
        run.event("epoch", note="x" * 100)
    run.event("epoch", epoch=2)
    assert [e["epoch"] for e in events(run)] == [1, 2]


# --- no room: fault row 50


@pytest.mark.parametrize("limit", [10, 100, 400])
def test_a_full_disk_is_told_and_costs_no_earlier_stage(run: Run, limit: int) -> None:
    write(run, "step-1")
    with (
        file_size_limit(limit),
        pytest.raises(OutputError, match=r"step-2: .*File too large.*what was there is untouched"),
    ):
        write(run, "step-2", "x" * 200)
    assert newest(run) == "step-1"
    assert not (run.path / "step-2.partial").exists()
    write(run, "step-2")
    assert newest(run) == "step-2"


# --- kill -9 and power loss: fault row 51

WRITER = """
import sys
from pathlib import Path
from ticketkit.runs import open_run

def work(path, steps):
    with open_run(path, {"seed": 0}, resume=True) as run:
        stage = run.newest("step-")
        assert not run.notes, run.notes
        run.rewind_events()
        done = int((stage.path / "step").read_text()) if stage else 0
        if stage:
            assert stage.name == f"step-{done}"
            assert (stage.path / "sub" / "data").read_bytes() == b"%d" % done * 50_000
        for step in range(done + 1, done + steps + 1):
            run.event("step", step=step)
            with run.stage(f"step-{step}") as folder:
                (folder / "sub").mkdir()
                (folder / "sub" / "data").write_bytes(b"%d" % step * 50_000)
                (folder / "step").write_text(str(step))
            run.keep("step-", last=2)
        return done
"""

LOOP = (
    WRITER
    + """
path = Path(sys.argv[1])
print(work(path, 0), flush=True)
while True:
    work(path, 1000)
"""
)

# At each change of the disk in turn, a process ends just before it makes it.
EACH = (
    WRITER
    + """
import json, os
from ticketkit.manifests import Stage, fault_of
from ticketkit.runrecord import digest_of_recipe
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")

def child(path, left):
    def hook(event, arguments):
        nonlocal left
        if event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            left -= 1
            if left < 0:
                os._exit(9)
    sys.addaudithook(hook)
    work(path, 3)
    os._exit(0)

for change in range(10_000):
    path = Path(sys.argv[1]) / str(change)
    pid = os.fork()
    if not pid:
        child(path, change)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 9), status
    recipe = digest_of_recipe({"seed": 0})
    stages = [Stage(each) for each in path.glob("step-*") if "." not in each.name]
    assert [fault_of(stage, recipe) for stage in stages] == [""] * len(stages)
    seen = work(path, 1)
    lines = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["event"] == "step"]
    assert steps == list(range(1, seen + 2)), steps
    left = sorted(each.name for each in path.iterdir())
    stages = [f"step-{n}" for n in range(max(1, seen), seen + 2)]
    assert left == ["events.jsonl", "run.json", *stages], left
    if status == 0:
        assert seen == 3
        break
print(change)
"""
)


def test_a_run_that_ends_before_any_change_of_the_disk_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EACH, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


@pytest.mark.slow
def test_a_kill_at_any_moment_costs_no_finished_stage(tmp_path: Path) -> None:
    path = tmp_path / "run"
    reached = [0]
    for attempt in range(25):
        with subprocess.Popen(
            [sys.executable, "-c", LOOP, path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(random.Random(attempt).uniform(0, 0.2))
            before = [int(p.name[5:]) for p in path.glob("step-*") if p.name[5:].isdigit()]
            process.kill()
            assert process.stderr is not None
            assert process.stderr.read() == ""
        assert int(first) >= reached[-1]
        reached.append(max(before, default=0))
    assert reached[-1] > 25
    with open_run(path, RECIPE, resume=True) as run:
        assert run.newest("step-") is not None
        assert run.notes == []
