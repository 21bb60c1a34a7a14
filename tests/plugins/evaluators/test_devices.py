"""Evaluators on devices that have no float64, such as Apple's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import ticketkit
from ticketkit.testing import cases


class Single(torch.Tensor):
    """A tensor that fails, as there, where float64 is made of it before it is on the CPU."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        if func is torch.Tensor.cpu:
            return found.as_subclass(torch.Tensor)
        if isinstance(found, Single) and found.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return found


class Elsewhere(nn.Module):
    """A network whose outputs are on such a device."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network(inputs).as_subclass(Single)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "spec",
    [
        "accuracy",
        "calibration",
        "ood",
        "corruption:kinds=contrast",
        "certified:n=20,radii=0.1",
        "miou",
    ],
)
def test_float64_is_asked_of_the_cpu_alone(spec: str) -> None:
    maps = spec == "miou"
    network = cases.segmenting() if maps else cases.runnable()
    data = TensorDataset(*(cases.maps(9, 8) if maps else cases.pictures(9, 8)))
    elsewhere = ticketkit.evaluate(Elsewhere(network), data, [spec])
    assert elsewhere == ticketkit.evaluate(network, data, [spec])
