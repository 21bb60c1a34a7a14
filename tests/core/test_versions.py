"""The versions of what took part."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import ticketkit
from tests.core import broken
from ticketkit.options import resolve
from ticketkit.versions import code_here, versions_of


def test_ticketkit_torch_and_numpy_always_take_part() -> None:
    found = versions_of()
    assert found["ticketkit"] == ticketkit.__version__
    assert found["torch"] == torch.__version__
    assert found["numpy"] == version("numpy")


def test_a_part_brings_its_distribution_and_a_class_of_a_notebook_none() -> None:
    found = versions_of(resolve("task", "digits"), None, broken.Task())
    assert set(found) == {"ticketkit", "torch", "numpy"}


def test_code_that_has_no_version_is_told_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "alone.py").write_text("")
    (tmp_path / "package").mkdir()
    for name in ("__init__", "inner"):
        (tmp_path / "package" / f"{name}.py").write_text("")
    for module in ("alone", "package"):
        importlib.import_module(module)
    try:
        before = code_here()
        (tmp_path / "alone.py").write_text("changed = 1")
        assert _changed(before) == {"alone"}
        (tmp_path / "package" / "inner.py").write_text("changed = 1")  # not imported yet
        assert _changed(before) == {"alone", "package"}
    finally:
        for module in ("alone", "package"):
            del sys.modules[module]
    assert not {"torch", "json", "pytest", "__main__"} & set(before)


def _changed(before: dict[str, str]) -> set[str]:
    return {name for name, digest in code_here().items() if before[name] != digest}
