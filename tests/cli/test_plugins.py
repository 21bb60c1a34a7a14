"""`ticketkit plugins`, and plugins that misbehave: named, and kept from the others.

Fault row 49, with installed distributions in processes of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ticketkit
from tests.cli.conftest import Cli
from tests.plugin_factory import STRIPE, install
from tests.samples import names, run, save, state

HOOK = "import ticketkit\n@ticketkit.hookimpl\ndef ticketkit_schemes():\n    yield {}\n"
CLASS = """
import ticketkit
class Part(ticketkit.{base}):
    name = "{name}"
    {body}
@ticketkit.hookimpl
def ticketkit_{kind}():
    yield Part
"""

# Plugins that fail when they are loaded: what each is, and what is told of it.
BROKEN = {
    "import": ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named"),
    "syntax": ("def :", "SyntaxError: "),
    "raise": ("raise RuntimeError('no GPU')", "RuntimeError: no GPU"),
    "exotic": ("class E(BaseException): pass\nraise E('odd')", "E: odd"),
    "hook": (HOOK.format("from_nowhere"), "NameError: name 'from_nowhere' is not defined"),
    "base": (HOOK.format("ticketkit.Scheme"), "found None in <class 'ticketkit.parts.Scheme'>"),
    "abstract": (
        "import ticketkit\nclass S(ticketkit.BlockScheme): name = 's'\n" + HOOK.format("S"),
        "TypeError: S does not implement block",
    ),
    "late": (STRIPE.format(part="late") + "    raise KeyError('late')", "KeyError: 'late'"),
    "nothing": (HOOK.format("3"), "must yield classes of ticketkit.Scheme, found 3"),
    "kind": (HOOK.format("ticketkit.Criterion"), "must yield classes of ticketkit.Scheme, found <"),
    "name": (STRIPE.format(part="Not A Name"), "with a name in lower case, found 'Not A Name'"),
    "typo": (STRIPE.replace("ticketkit_schemes", "ticketkit_scheme"), "unknown hook"),
    "twice": (STRIPE.format(part="twice") + "    yield Stripe", "offers 'twice' twice"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of plugins that fail, and one that works."""
    folder = tmp_path_factory.mktemp("broken")
    for name, (source, _) in BROKEN.items():
        install(folder, f"plug-{name}", f"plug_{name}", source, version="0.3")
    install(folder, "plug-good", "plug_good", STRIPE.format(part="stripe"), version="2.0")
    return folder


def ticketkit_with(plugins: Path, *arguments: object, **environment: str) -> Any:
    return run(*arguments, cwd=plugins, env={"PYTHONPATH": str(plugins), **environment})


def test_our_own_plugins_are_listed(cli: Cli) -> None:
    result = cli("plugins")
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[0].split() == ["plugin", "distribution", "version", "state", "parts"]
    version = ticketkit.__version__
    row = ["row", "ticketkit", version, "loaded", "scheme", "row"]
    assert row in [line.split() for line in lines]
    assert len(lines) == 1 + len(ticketkit.catalogue().plugins)


def test_the_list_as_json_has_all_there_is_to_know(cli: Cli) -> None:
    document = cli("plugins", "--json").document
    assert document["schema"] == "ticketkit.plugins/1"
    (row,) = [plugin for plugin in document["plugins"] if plugin["name"] == "row"]
    assert row["file"].endswith("row.py")
    row.pop("file")
    assert row == {
        "name": "row",
        "module": "ticketkit_plugins.schemes.row",
        "distribution": "ticketkit",
        "version": ticketkit.__version__,
        "state": "loaded",
        "error": "",
        "traceback": "",
        "parts": ["scheme row"],
    }


def test_each_failure_is_listed_with_its_reason_and_the_rest_goes_on(broken: Path) -> None:
    done = ticketkit_with(broken, "plugins", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = {plugin["name"]: plugin for plugin in json.loads(done.stdout)["plugins"]}
    for name, (_, reason) in BROKEN.items():
        plugin = found[f"plug_{name}"]
        assert plugin["state"] == "failed", name
        assert reason in plugin["error"]
        assert "Traceback" in plugin["traceback"]
        assert (plugin["distribution"], plugin["version"]) == (f"plug-{name}", "0.3")
        assert plugin["parts"] == []
    assert found["plug_good"]["parts"] == ["scheme stripe"]
    assert found["row"]["state"] == "loaded"


def test_the_reason_is_printed_and_its_traceback_on_request(broken: Path) -> None:
    done = ticketkit_with(broken, "plugins")
    assert "\nplug_raise (plug-raise 0.3) failed: RuntimeError: no GPU\n" in done.stdout
    assert "Traceback" not in done.stdout
    assert "Traceback (most recent call last)" in ticketkit_with(broken, "plugins", "-v").stdout


def test_other_commands_tell_each_failure_in_one_line_and_go_on(broken: Path) -> None:
    done = ticketkit_with(broken, "parts")
    assert done.returncode == 0
    shown = [line.split()[:2] for line in done.stdout.splitlines()]
    assert ["scheme", "stripe"] in shown
    assert ["scheme", "row"] in shown
    lines = done.stderr.splitlines()
    assert len(lines) == len(BROKEN)
    assert lines[2] == (
        "warning: plugin plug_exotic (plug-exotic 0.3) failed to load and is left out; see "
        "'ticketkit plugins' for the reason"
    )


def test_a_part_that_is_missing_names_the_plugins_that_failed(broken: Path) -> None:
    done = ticketkit_with(broken, "parts", "late")
    assert done.returncode == 2
    assert "no part is named 'late'; choose from accuracy, " in done.stderr
    assert "plug_late (plug-late 0.3): KeyError: 'late'" in done.stderr


@pytest.mark.parametrize("blocked", ["plug-raise", "plug-raise/plug_raise", "x, plug-raise ,y"])
def test_a_blocked_plugin_is_not_imported_and_not_complained_of(blocked: str, broken: Path) -> None:
    done = ticketkit_with(broken, "plugins", TICKETKIT_BLOCK=blocked)
    assert "\nplug_raise (plug-raise 0.3) blocked: by TICKETKIT_BLOCK\n" in done.stdout
    assert "plug_raise" not in ticketkit_with(broken, "parts", TICKETKIT_BLOCK=blocked).stderr


def test_two_plugins_of_one_name_are_both_refused_and_either_can_be_chosen(
    tmp_path: Path,
) -> None:
    for which in "ab":
        install(tmp_path, f"plug-{which}", f"plug_{which}", STRIPE.format(part="stripe"))
    done = ticketkit_with(tmp_path, "parts", "plug-a/stripe")
    assert done.returncode == 0
    assert done.stdout.startswith("scheme stripe (plug-a 1.0)\n")
    document = json.loads(ticketkit_with(tmp_path, "parts", "stripe", "--json").stdout)
    assert [part["distribution"] for part in document["parts"]] == ["plug-a", "plug-b"]


def test_a_plugin_that_ends_the_program_is_listed_as_failed(tmp_path: Path) -> None:
    install(tmp_path, "plug-exit", "plug_exit", "import sys; sys.exit(0)")
    done = ticketkit_with(tmp_path, "plugins")
    assert done.returncode == 0
    assert "\nplug_exit (plug-exit 1.0) failed: SystemExit: 0\n" in done.stdout
    assert "ticketkit" in done.stdout


# --- parts that fail at work

WORKING = {
    "criterion": {
        "raises": ("def score(self, w, c): raise KeyError('oh')", "KeyError: 'oh'"),
        "exotic": (
            "def score(self, w, c): raise type('E', (BaseException,), {})('oh')",
            "E: oh",
        ),
        "none": ("def score(self, w, c): pass", "returned NoneType, where a tensor"),
        "short": ("def score(self, w, c): return w.abs()[:1]", "returned shape (1"),
        "nan": ("def score(self, w, c): return w * float('nan')", "returned NaN or infinite"),
        "integers": ("def score(self, w, c): return w.long()", "returned torch.int64, where"),
        "mutates": ("def score(self, w, c): return w.zero_()", "changed the weights it was given"),
    },
    "scheme": {
        "raises": ("def block(self, shape): raise KeyError('oh')", "KeyError: 'oh'"),
        "zero": ("def block(self, shape): return (0, *shape[1:])", "block for attention"),
        "short": ("def block(self, shape): return (1,)", "expected 2 positive integers"),
        "float": ("def block(self, shape): return [1.0] * len(shape)", "positive integers"),
        "none": ("def block(self, shape): pass", "found None"),
    },
    "allocation": {
        "raises": ("def budgets(self, layers, keep): return 1 / 0", "ZeroDivisionError"),
        "forgets": ("def budgets(self, layers, keep): return {}", "must name every layer"),
        "exceeds": (
            "def budgets(self, layers, keep): return {n: 10**9 for n in layers}",
            "must be a whole number from 0 to 48, found 1000000000",
        ),
    },
    "strategy": {
        "raises": ("def rounds(self, job): raise KeyError('oh')", "KeyError: 'oh'"),
        "never": ("def rounds(self, job): return iter(())", "it yielded no round"),
        "other": ("def rounds(self, job): yield 3", "a round must be a ticketkit.Round, found 3"),
    },
}
PLURAL = {
    "criterion": "criteria",
    "scheme": "schemes",
    "allocation": "allocations",
    "strategy": "strategies",
}
BASE = {
    "criterion": "Criterion",
    "scheme": "BlockScheme",
    "allocation": "Allocation",
    "strategy": "Strategy",
}
CASES = [(kind, name) for kind, cases in WORKING.items() for name in cases]
SCRIPT = """
import contextlib, io, json, sys
from ticketkit.cli import main
found = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["prune", "model.pt", "--sparsity", "0.5", *arguments])
    found.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Faults:
    """What became of each command of one process, and what it left behind."""

    results: dict[str, tuple[int, str, str]]
    files: list[str]


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Faults:
    """A prune with each faulty part, planned and run, all in one process."""
    plugins, folder = tmp_path_factory.mktemp("plugins"), tmp_path_factory.mktemp("faults")
    for kind, name in CASES:
        body = WORKING[kind][name][0]
        source = CLASS.format(base=BASE[kind], name=f"{name}-x", kind=PLURAL[kind], body=body)
        install(plugins, f"plug-{kind}-{name}", f"plug_{kind}_{name}", source, version="0.3")
    save(state(), folder, "zip")
    commands = {f"{kind} {name}": [f"--{kind}", f"{name}-x"] for kind, name in CASES}
    commands |= {f"plan {name}": [*command, "--dry-run"] for name, command in commands.items()}
    commands["good"] = ["--no-checkpoint"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([*commands.values()]),
        cwd=folder,
        env={"PYTHONPATH": str(plugins)},
        capture_output=True,
        text=True,
        check=True,
    )
    return Faults(dict(zip(commands, json.loads(done.stdout), strict=True)), names(folder))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_part_that_fails_is_named_with_its_distribution_and_version(
    kind: str, name: str, faults: Faults
) -> None:
    status, out, err = faults.results[f"{kind} {name}"]
    assert (status, out) == (1, "")
    who = f"error: part '{name}-x' of plug_{kind}_{name} (plug-{kind}-{name} 0.3) failed: "
    assert err.startswith(who)
    assert WORKING[kind][name][1] in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_dry_run_blames_it_too_or_does_not_need_it(kind: str, name: str, faults: Faults) -> None:
    status, _, err = faults.results[f"plan {kind} {name}"]
    assert status in (0, 1)
    if status:
        assert err.startswith(f"error: part '{name}-x' of plug_{kind}_{name} ")
    if kind == "scheme":
        assert status == 1


def test_the_rest_goes_on_and_nothing_half_done_is_left(faults: Faults) -> None:
    status, out, err = faults.results["good"]
    assert status == 0, err
    assert "wrote model.ticket.safetensors" in out
    assert faults.files == ["model.pt", "model.ticket.safetensors"]
