"""The versions of what took part."""

from __future__ import annotations

from importlib.metadata import version

import torch

import ticketkit
from tests.core import broken
from ticketkit.options import resolve
from ticketkit.versions import versions_of


def test_ticketkit_torch_and_numpy_always_take_part() -> None:
    found = versions_of()
    assert found["ticketkit"] == ticketkit.__version__
    assert found["torch"] == torch.__version__
    assert found["numpy"] == version("numpy")


def test_a_part_brings_its_distribution_and_a_class_of_a_notebook_none() -> None:
    found = versions_of(resolve("task", "digits"), None, broken.Task())
    assert set(found) == {"ticketkit", "torch", "numpy"}
