"""The README is true: its Python runs, its commands exist, its options are real."""

from __future__ import annotations

import re
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from torch.nn.utils import prune

from ticketkit.cli import group
from ticketkit.registry import catalogue

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^\$ ticketkit (.*?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_every_python_snippet_runs_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)  # where dataclasses look for their module
    assert len(PYTHON) >= 5
    for number, snippet in enumerate(PYTHON):
        exec(compile(snippet, f"README snippet {number}", "exec"), vars(module))


def test_every_command_runs_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    import torchvision

    from ticketkit.cli import main

    model: Any = torchvision.models.resnet18()
    torch.save(model.state_dict(), "resnet50.pth")
    prune.l1_unstructured(model.conv1, "weight", 0.5)  # type: ignore[no-untyped-call]
    torch.save(model.state_dict(), "pruned_by_torch.pth")
    assert len(COMMANDS) >= 6
    for command in COMMANDS:
        assert main(command.split()) == 0, capsys.readouterr().err


def test_the_table_of_options_lists_every_option_of_prune() -> None:
    prune = group.get_command(click.Context(group), "prune")
    assert prune is not None
    options = {option for parameter in prune.params for option in parameter.opts}
    table = README[README.index("| option of `prune`") : README.index("Parts are chosen by spec")]
    written = set(re.findall(r"--[a-z][a-z-]+", table))
    assert written <= options
    assert {option for option in options if option.startswith("--")} - written == {"--output"}


@pytest.mark.parametrize("command", ["pretrain", "transfer"])
def test_the_table_of_training_lists_every_option_that_both_commands_have(command: str) -> None:
    found = group.get_command(click.Context(group), command)
    assert found is not None
    options = {option for parameter in found.params for option in parameter.opts}
    start = README.index("| option of `pretrain` and `transfer`")
    written = set(re.findall(r"--[a-z][a-z-]+", README[start : README.index("A run is a folder")]))
    assert written <= options
    own = {"--mode", "--prior", "--no-verify", "--checkpoint-key", "--output"}
    assert {option for option in options if option.startswith("--")} - written <= own


def test_the_table_of_evaluators_lists_every_one() -> None:
    table = README[README.index("| evaluator | figures |") :].partition("\n\n")[0]
    ours = [each for each in catalogue().offers if each.plugin.distribution == "ticketkit"]
    names = {offer.name for offer in ours if offer.kind == "evaluator"}
    assert set(re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE)) == names


def test_the_plugin_in_the_readme_is_the_one_in_the_examples() -> None:
    example = (ROOT / "examples/ticketkit-stripe/ticketkit_stripe.py").read_text(encoding="utf-8")
    plugin = next(snippet for snippet in PYTHON if "class Stripe" in snippet)
    assert plugin.strip() in example


def test_the_entry_point_in_the_readme_is_the_one_in_the_examples() -> None:
    snippet = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)[0]
    project = tomllib.loads((ROOT / "examples/ticketkit-stripe/pyproject.toml").read_text())
    ours = tomllib.loads(snippet)["project"]["entry-points"]["ticketkit"]
    assert project["project"]["entry-points"]["ticketkit"] == ours


def test_every_target_of_make_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
