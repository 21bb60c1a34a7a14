"""The command line as a whole: exit status, signals, streams, and what is loaded when."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import ticketkit
from tests.cli.conftest import Cli
from tests.plugin_factory import install
from tests.samples import command, leftovers, run, save, state, wait_for
from ticketkit import cli as command_line
from ticketkit import draw
from ticketkit.checkpoint import open_checkpoint
from ticketkit.cli import main

COMMANDS = ["prune", "show", "apply", "verify", "import", "parts", "plugins"]


# --- exit status, without anything heavy


def test_without_arguments_the_help_is_printed(cli: Cli) -> None:
    result = cli()
    assert result.status == 0
    assert result.out.startswith("Usage: ticketkit [OPTIONS] [COMMAND]")
    assert all(f"\n  {name} " in result.out for name in COMMANDS)
    assert cli("--help") == cli("-h") == result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prun"], "no command 'prun'; choose from prune, show"),
        (["plugin"], "did you mean 'plugins' or"),
        (["x\x1b[31m"], "no command 'x\\\\x1b[31m'"),
        (["--nothing"], "No such option"),
        (["show"], "Missing argument 'FILE'"),
        (["show", "a", "b"], "unexpected extra argument"),
        (["prune", "x.pt", "--sparsity", "0.5", "--seed", "x"], "'x' is not a valid integer"),
        (["show", ""], "a path is expected, found ''"),
        (["show", "-"], "a file of tensors is read and written in place, not as a stream"),
        (["prune", "x.pt", "--sparsity", "0.5", "-o", "-"], "not as a stream"),
    ],
)
def test_usage_errors_exit_with_2(arguments: list[str], message: str, cli: Cli) -> None:
    result = cli(*arguments)
    assert result.status == 2
    assert message in result.err
    assert result.err.startswith("error: ")
    assert re.search(r" \(see 'ticketkit( \w+)? --help'\)\n$", result.err)
    assert result.err.count("\n") == 1
    assert result.out == ""


def test_a_refused_input_exits_with_3(cli: Cli) -> None:
    result = cli("show", "nothing\n.pt")
    assert (result.status, result.out) == (3, "")
    assert result.err == "error: nothing\\n.pt: no such file\n"


def guarded(error: BaseException) -> int:
    def fail() -> int:
        raise error

    return command_line._guarded(fail)


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (ticketkit.PluginError("x"), 1, "error: x\n"),
        (ticketkit.UsageError("x\n\x1b[31m"), 2, "error: x\\n\\x1b[31m\n"),
        (MemoryError(), 1, "error: out of memory; nothing was lost\n"),
        (OSError(28, "No space left on device"), 1, "standard output: No space left on device"),
        (FileNotFoundError(2, "No such file", "x.pt"), 1, "error: x.pt: No such file\n"),
        (BrokenPipeError(32, "Broken pipe"), 0, ""),
        (KeyboardInterrupt(), 130, "error: interrupted; no output was left half-written\n"),
        (SystemExit(0), 1, "error: a plugin ended the program: sys.exit(0)\n"),
    ],
)
def test_whatever_happens_has_its_exit_status_and_one_line(
    error: BaseException, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(error) == status
    assert told in capsys.readouterr().err


def test_a_bug_of_ours_exits_with_101_and_saves_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert guarded(ZeroDivisionError("oh")) == 101
    told = capsys.readouterr().err.splitlines()
    (saved,) = tmp_path.iterdir()
    assert told == [
        "error: a bug of ticketkit: ZeroDivisionError: oh",
        f"error: the traceback is in {saved}; please report it",
    ]
    assert "Traceback (most recent call last)" in saved.read_text()
    assert f"ticketkit {ticketkit.__version__}" in saved.read_text()


def test_a_bug_of_ours_is_told_even_where_nothing_can_be_saved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    assert guarded(ZeroDivisionError("oh")) == 101
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_the_command_line_can_be_called_from_a_thread(cli: Cli) -> None:
    before = signal.getsignal(signal.SIGTERM)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(main(["parts", "row"])))
    thread.start()
    thread.join()
    assert found == [0]
    assert main(["parts", "row"]) == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_it_runs_as_a_module_and_as_a_script(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("ticketkit")
    for start in ([sys.executable, "-m", "ticketkit"], [str(script)] if script.exists() else []):
        if start:
            done = subprocess.run(
                [*start, "show", "x"], capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (3, "error: x: no such file\n")


# --- what is loaded when


@pytest.mark.parametrize("arguments", [[], ["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_neither_torch_nor_numpy_nor_a_plugin(arguments: list[str]) -> None:
    code = (
        "import sys; from ticketkit.cli import main; assert main(sys.argv[1:]) == 0\n"
        "heavy = {'torch', 'numpy', 'safetensors', 'ticketkit_plugins', 'ticketkit.registry'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_the_help_of_a_command_names_no_part(cli: Cli) -> None:
    assert "kernel" not in cli("prune", "--help").out
    assert "ticketkit parts NAME" in cli("prune", "--help").out.replace("\n  ", " ")


def test_safetensors_files_are_shown_verified_and_applied_without_torch_and_plugins(
    tmp_path: Path,
) -> None:
    source = save(state(), tmp_path, "safetensors")
    draw(open_checkpoint(source), scheme="row", sparsity=0.5).save(tmp_path / "t.safetensors")
    code = (
        "import sys; from ticketkit.cli import main\n"
        "for arguments in (\n"
        "    ['apply', 't.safetensors', 'model.safetensors'],\n"
        "    ['show', 't.safetensors'],\n"
        "    ['show', 'model.safetensors', '--json'],\n"
        "    ['verify', 't.safetensors'],\n"
        "    ['verify', 't.safetensors', 'model.pruned.safetensors'],\n"
        "):\n"
        "    assert main(arguments) == 0, arguments\n"
        "heavy = {'torch', 'ticketkit_plugins', 'ticketkit.registry'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_completion_offers_commands_and_options() -> None:
    environment = {"_TICKETKIT_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    found = run(cwd=Path.cwd(), env={**environment, "COMP_WORDS": "ticketkit p"})
    assert found.stdout.split() == ["plain,prune", "plain,pretrain", "plain,parts", "plain,plugins"]
    environment |= {"COMP_WORDS": "ticketkit prune --sp", "COMP_CWORD": "2"}
    assert run(cwd=Path.cwd(), env=environment).stdout.split() == ["plain,--sparsity"]


# --- streams: fault rows 52 and 55


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of so many tensors that a list of them fills any pipe."""
    path = tmp_path_factory.mktemp("wide") / "wide.safetensors"
    save_file({f"block.{i}.a_rather_long_name.weight": torch.ones(1) for i in range(4000)}, path)
    return path


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    python = f"{sys.executable} -m ticketkit"
    return subprocess.run(
        ["bash", "-c", line.replace("ticketkit", python)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("options", ["", "--json"])
def test_a_reader_that_has_read_enough_ends_it_quietly(options: str, wide: Path) -> None:
    # fault row 52
    done = shell(
        f"ticketkit show {wide.name} {options} | head -1; echo ${{PIPESTATUS[0]}}", wide.parent
    )
    assert done.stdout.splitlines()[1] == "0"
    assert done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_change_nothing_but_what_is_printed(closed: str, tmp_path: Path) -> None:
    # fault row 55
    source = save(state(), tmp_path, "safetensors")
    draw(open_checkpoint(source), scheme="row", sparsity=0.5).save(tmp_path / "t.safetensors")
    for _ in range(2):
        done = shell(f"ticketkit apply t.safetensors {source.name} --force {closed}", tmp_path)
        assert done.returncode == 0
        assert "Traceback" not in done.stderr
    assert set(load_file(tmp_path / "model.pruned.safetensors")) == set(state())
    assert shell(f"ticketkit show nothing {closed}", tmp_path).returncode == 3
    assert shell(f"ticketkit nothing {closed}", tmp_path).returncode == 2


def test_output_that_cannot_be_written_is_an_error_told_once(wide: Path) -> None:
    # fault row 50
    done = shell(f"ticketkit show {wide.name} > /dev/full", wide.parent)
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device\n"
    done = shell("ticketkit --help > /dev/full", wide.parent)
    assert done.returncode == 1


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "LANG": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_names_that_a_terminal_cannot_show_do_not_end_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    # fault row 55
    path = save({"größe 模 😀": torch.ones(2, 2)}, tmp_path, "safetensors", "mödel 模 😀")
    for options in ([], ["--json"]):
        done = run("show", path.name, *options, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tensors"][0]["name"] == "größe 模 😀"


# --- signals: fault rows 51, 52 and 53


@pytest.fixture(scope="module")
def giant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint that takes a while to write, and its ticket."""
    folder = tmp_path_factory.mktemp("giant")
    save_file({"a.weight": torch.ones(4096, 8192)}, folder / "giant.safetensors")
    checkpoint = open_checkpoint(folder / "giant.safetensors")
    ticket = draw(checkpoint, scheme="channel", sparsity=0.5)
    ticket.save(folder / "ticket.safetensors")
    return folder


APPLY = ["apply", "ticket.safetensors", "giant.safetensors", "-o", "out.safetensors", "--force"]


@contextlib.contextmanager
def writing(folder: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A run of the command line, once it has begun to write."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        wait_for(lambda: bool([*folder.glob(".*-partial")]) or process.poll() is not None)
        yield process


@pytest.mark.parametrize(
    ("number", "status", "told"),
    [
        (signal.SIGINT, 130, "error: interrupted; no output was left half-written\n"),
        (signal.SIGTERM, 75, "error: stopped by a signal; no output was left half-written\n"),
        (signal.SIGHUP, 75, "error: stopped by a signal; no output was left half-written\n"),
    ],
)
def test_a_signal_ends_it_with_its_status_and_leaves_the_old_output(
    number: int, status: int, told: str, giant: Path
) -> None:
    # fault row 52
    (giant / "out.safetensors").write_bytes(b"old")
    with writing(giant, *APPLY) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (status, "", told)
    assert (giant / "out.safetensors").read_bytes() == b"old"
    assert leftovers(giant) == []


def test_a_second_run_with_the_same_output_is_refused_and_touches_nothing(giant: Path) -> None:
    # fault row 53
    (giant / "out.safetensors").write_bytes(b"old")
    with writing(giant, *APPLY) as first:
        os.kill(first.pid, signal.SIGSTOP)
        second = run(*APPLY, cwd=giant)
        assert second.returncode == 1
        assert second.stderr == (
            "error: out.safetensors: another run is writing it (ticketkit pid "
            f"{first.pid} on {socket.gethostname()})\n"
        )
        assert (giant / "out.safetensors").read_bytes() == b"old"
        os.kill(first.pid, signal.SIGCONT)
        first.communicate(timeout=60)
    assert first.returncode == 0
    assert (giant / "out.safetensors").stat().st_size > 2**27
    assert leftovers(giant) == []


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_old_output_or_the_new(giant: Path) -> None:
    # fault row 51
    target = giant / "out.safetensors"
    outcomes = set()
    for attempt in range(10):
        target.write_bytes(b"old")
        with writing(giant, *APPLY) as process:
            time.sleep(random.Random(attempt).uniform(0, 0.25))
            process.kill()
            process.communicate()
        new = target.stat().st_size > 3
        outcomes.add(new)
        assert new or target.read_bytes() == b"old"
        if new:
            assert load_file(target)["a.weight"].count_nonzero() == 2**24
    assert False in outcomes
    assert main([str(giant / a) if a.endswith("safetensors") else a for a in APPLY]) == 0
    assert leftovers(giant) == []
    assert load_file(target)["a.weight"].count_nonzero() == 2**24


@pytest.mark.slow
def test_a_stopped_write_by_torch_leaves_the_old_output(tmp_path: Path) -> None:
    # fault row 52
    torch.save({"a.weight": torch.ones(4096, 8192)}, tmp_path / "giant.pt")
    (tmp_path / "giant.pruned.pt").write_bytes(b"old")
    arguments = ["prune", "giant.pt", "--sparsity", "0.5", "--scheme", "channel", "--force"]
    with writing(tmp_path, *arguments) as process:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (75, ""), err
    assert (tmp_path / "giant.pruned.pt").read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_an_input_cut_short_while_it_is_read_costs_the_old_output_nothing(giant: Path) -> None:
    # fault row 50: the system ends a process that reads what is no longer there
    source = giant / "cut.safetensors"
    source.write_bytes((giant / "giant.safetensors").read_bytes())
    (giant / "out.safetensors").write_bytes(b"old")
    arguments = [a.replace("giant", "cut") for a in APPLY]
    with writing(giant, *arguments) as process:
        os.truncate(source, 4096)
        process.communicate(timeout=60)
    source.unlink()
    if process.returncode:  # it may have read all of it by then
        assert (giant / "out.safetensors").read_bytes() == b"old"
    assert run(*APPLY, cwd=giant).returncode == 0
    assert leftovers(giant) == []


STARTING = """
import os, signal, sys, threading
from ticketkit.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGINT)).start()
sys.exit(main(["prune", "model.pt", "--sparsity", "0.5", "--force"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.05, 0.7])
def test_ctrl_c_while_torch_is_imported_is_told_in_one_line(delay: float, tmp_path: Path) -> None:
    # fault row 52
    save(state(), tmp_path, "zip")
    done = subprocess.run(
        [sys.executable, "-c", STARTING, str(delay)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "error: interrupted; no output was left half-written\n"
    assert leftovers(tmp_path) == []


SLEEPER = """
import os, signal, time
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""


def test_a_signal_while_a_plugin_is_imported_is_no_fault_of_the_plugin(tmp_path: Path) -> None:
    # fault rows 49 and 52
    install(tmp_path, "plug-slow", "plug_slow", SLEEPER)
    done = run("parts", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 75
    assert done.stderr == "error: stopped by a signal; no output was left half-written\n"


# --- the same bytes everywhere: fault row 55


@pytest.mark.slow
def test_the_ticket_is_the_same_in_any_surroundings(tmp_path: Path) -> None:
    plain, odd = tmp_path / "plain", tmp_path / "ödd 模" / ("x" * 200)
    odd.mkdir(parents=True)
    plain.mkdir()
    environments: list[dict[str, Any]] = [
        {"PYTHONHASHSEED": "0", "TZ": "UTC", "OMP_NUM_THREADS": "1"},
        {
            "PYTHONHASHSEED": "12345",
            "TZ": "Asia/Kathmandu",
            "LC_ALL": "C",
            "PYTHONIOENCODING": "ascii",
            "OMP_NUM_THREADS": "2",
            "HOME": "/nowhere",
        },
    ]
    for folder, environment in zip((plain, odd), environments, strict=True):
        save(state(), folder, "wrapped-zip")
        done = run("prune", "model.pt", "--sparsity", "0.7", cwd=folder, env=environment)
        assert done.returncode == 0, done.stderr
    for name in ("model.ticket.safetensors", "model.pruned.pt"):
        assert (plain / name).read_bytes() == (odd / name).read_bytes()


def test_it_runs_without_a_home(tmp_path: Path) -> None:
    # fault row 55
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "USER", "LANG", "TZ")}
    source = save(state(), tmp_path, "safetensors")
    done = subprocess.run(
        command("show", source.name),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def test_a_path_of_nearly_any_length_will_do(cli: Cli, folder: Path) -> None:
    # fault row 55
    deep = folder
    while len(str(deep)) < 3500:
        deep = deep / ("d" * 200)
    deep.mkdir(parents=True)
    path = save(state(), deep, "safetensors")
    assert cli("show", path).status == 0
    result = cli("show", folder / ("x" * 5000))
    assert result.status == 3
    assert "File name too long" in result.err
