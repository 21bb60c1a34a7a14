"""The machine that trains."""

from __future__ import annotations

import json

import pytest
import torch

from ticketkit.environment import device_of, environment
from ticketkit.errors import UsageError

NONE = not torch.accelerator.is_available()


def test_the_cpu_is_always_there() -> None:
    assert device_of("cpu") == torch.device("cpu")


@pytest.mark.skipif(not NONE, reason="there is an accelerator")
def test_without_an_accelerator_auto_is_the_cpu() -> None:
    assert device_of("auto") == torch.device("cpu")


# Fault row 58
@pytest.mark.skipif(not NONE, reason="there is an accelerator")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_told_with_what_is(name: str) -> None:
    with pytest.raises(UsageError, match=f"device '{name}' was asked for; found the CPU alone"):
        device_of(name)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x"])
def test_a_name_of_no_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"no device '{name}'; found"):
        device_of(name)


def test_the_environment_is_json_and_has_what_bits_depend_on() -> None:
    found = environment(torch.device("cpu"))
    assert json.loads(json.dumps(found)) == found
    assert found["threads"] == torch.get_num_threads()
    assert found["torch"] == torch.__version__
