"""`ticketkit overlap`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.cli.conftest import Cli
from ticketkit import draw


@pytest.fixture
def tickets(folder: Path) -> Path:
    """Two tickets of one network, by hand: a.safetensors and b.safetensors."""
    for name, first, tenth in (("a", [4.0, 3, 2, 1], 0), ("b", [4.0, 1, 2, 3], 9)):
        model = nn.ModuleDict({"x2": nn.Linear(4, 1), "x10": nn.Linear(10, 1)})
        model["x2"].get_parameter("weight").detach().copy_(torch.tensor([first]))
        model["x10"].get_parameter("weight").detach().fill_(0.5)[0, tenth] = 9
        scheme = "unstructured" if name == "a" else "row"
        draw(model, scheme=scheme, sparsity=0.5, allocation="uniform").save(f"{name}.safetensors")
    return folder


def test_a_table_tells_what_each_keeps_and_what_both_keep(tickets: Path, cli: Cli) -> None:
    result = cli("overlap", "a.safetensors", "b.safetensors")
    assert (result.status, result.err) == (0, "")
    assert result.out == (
        "layer       weights  kept in A  kept in B  in both   overlap\n"
        "x2.weight         4          2          2        1  0.333333\n"
        "x10.weight       10          5          5        4  0.666667\n"
        "all layers       14          7          7        5  0.555556\n"
    )


def test_json_is_one_document(tickets: Path, cli: Cli) -> None:
    document = cli("overlap", "a.safetensors", "b.safetensors", "--json").document
    assert document["schema"] == "ticketkit.overlap/1"
    assert (document["a"], document["b"]) == ("a.safetensors", "b.safetensors")
    assert document["kept"] == {"a": 7, "b": 7, "both": 5}
    assert document["overlap"] == 5 / 9
    assert [layer["name"] for layer in document["layers"]] == ["x2.weight", "x10.weight"]
    assert document["layers"][0]["kept"] == {"a": 2, "b": 2, "both": 1}
    same = cli("overlap", "a.safetensors", "a.safetensors", "--json").document
    assert same["overlap"] == 1


def test_other_parameters_are_named(tickets: Path, cli: Cli) -> None:
    model = nn.ModuleDict({"x2": nn.Linear(5, 1), "y": nn.Linear(10, 1)})
    draw(model, scheme="row", sparsity=0.5).save("c.safetensors")
    result = cli("overlap", "a.safetensors", "c.safetensors")
    assert (result.status, result.out) == (3, "")
    assert result.err == (
        "error: a.safetensors and c.safetensors: the masks cover different parameters: "
        "x2.weight: [1, 4] and [1, 5], x10.weight: in the first alone, "
        "y.weight: in the second alone\n"
    )


def test_what_is_no_ticket_is_refused(tickets: Path, cli: Cli) -> None:
    Path("empty").touch()
    for name, told in (("nothing", "no such file"), ("empty", "empty file")):
        result = cli("overlap", "a.safetensors", name)
        assert (result.status, result.out) == (3, "")
        assert told in result.err
    assert cli("overlap", "a.safetensors").status == 2
    assert "not as a stream" in cli("overlap", "-", "a.safetensors").err


def test_it_imports_neither_torch_nor_a_plugin(tickets: Path) -> None:
    code = """
import sys
from ticketkit.cli import main
assert main(["overlap", "a.safetensors", "b.safetensors"]) == 0
loaded = {name.partition(".")[0] for name in sys.modules} & {"torch", "ticketkit_plugins"}
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tickets, capture_output=True)
