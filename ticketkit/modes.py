"""What a network is put in for a while, and is brought back from: its modes, torch's generators."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator

import numpy as np
import torch


@contextlib.contextmanager
def modes_kept(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Afterwards each of these modules is in the mode that it was in."""
    modes = {module: module.training for module in modules}
    try:
        yield
    finally:
        for module, before in modes.items():
            module.training = before


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Every module in eval mode; afterwards each in the mode that it was in, and no other.

    The flags alone are set: `eval()` may do more, such as merging adapters into weights.
    """
    with modes_kept(model.modules()):
        for module in model.modules():
            module.training = False
        yield


@contextlib.contextmanager
def training(model: torch.nn.Module) -> Iterator[None]:
    """The network in train mode; afterwards each module is in the mode that it was in."""
    with modes_kept(model.modules()):
        model.train()
        yield


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's generator of the CPU for a block; afterwards it is as it was.

    Networks are initialised on the CPU, so that a seed gives the same weights on every machine;
    generators of other devices are not touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def all_seeded(seed: int) -> Iterator[None]:
    """Seed the generators of torch's CPU, Python and NumPy for a block, as transforms use them."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with seeded(seed):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def same_generators(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Afterwards torch's generators, of the CPU and of these tensors' devices, are as they were."""
    devices = {tensor.device for tensor in tensors if tensor.device.type not in ("cpu", "meta")}
    with contextlib.ExitStack() as stack:
        for kind in {device.type for device in devices} or {"cuda"}:
            indices = [device for device in devices if device.type == kind]
            stack.enter_context(torch.random.fork_rng(indices, device_type=kind))
        yield
