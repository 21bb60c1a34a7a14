"""Random numbers that are a function of a seed alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's generator of the CPU for a block; afterwards it is as it was.

    Networks are initialised on the CPU, so that a seed gives the same weights on every machine;
    generators of other devices are not touched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
