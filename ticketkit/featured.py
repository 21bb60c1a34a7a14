"""The features of a task's pictures, of which only their moments are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch

from ticketkit.attacks import check_pixels
from ticketkit.batching import batches_of
from ticketkit.errors import EvaluationError, InputError
from ticketkit.frechet import Moments
from ticketkit.guards import check_finite
from ticketkit.inference import evaluated, forward
from ticketkit.progress import Advance, stage
from ticketkit.stacking import pixels

if TYPE_CHECKING:
    from ticketkit.parts import Dataset

_BATCH = 64
_ROWS = 512
"""How many samples are pooled at once: each time costs some passes over a (d, d) covariance."""


def moments_of(network: torch.nn.Module, splits: Mapping[str, Dataset], name: str) -> Moments:
    """The moments of what a network, which is left as it was, makes of all pictures of these sets.

    `name` is the task's, for errors: an `InputError` for fewer than two pictures; one that names
    the split and the picture for pixels outside [0, 1], and an `EvaluationError` that does so for
    features that are not finite.
    """
    moments, total = Moments(), sum(map(len, splits.values()))  # type: ignore[arg-type]
    if total < 2:
        raise InputError(f"{name}: a gap needs two pictures or more, found {total}")
    with stage(f"features of {name}", total, "pictures") as advance, evaluated(network):
        for split, pictures in splits.items():
            try:
                for features in _features(network, pictures, advance):
                    moments.update(features)
            except (EvaluationError, InputError) as error:
                raise type(error)(f"{split} of {name}: {error}") from None
    return moments


def _features(network: torch.nn.Module, data: Dataset, advance: Advance) -> Iterator[torch.Tensor]:
    """Features (n, d) on the CPU, of `_ROWS` pictures at a time or a little more."""
    first, held = 0, list[torch.Tensor]()
    for inputs, _ in batches_of(data, _BATCH):
        _check(inputs, first)
        found = forward(network, inputs, first).cpu()
        check_finite(found, first)
        held.append(found)
        first += len(inputs)
        advance(len(inputs))
        if sum(map(len, held)) >= _ROWS:
            yield torch.cat(held)
            held.clear()
    if held:
        yield torch.cat(held)


def _check(inputs: torch.Tensor, first: int) -> None:
    """Refuse the first picture that is none; bytes are made of them, which would wrap."""
    for index, picture in enumerate(pixels(inputs), first):
        try:
            check_pixels(picture[None])
        except InputError as error:
            raise InputError(f"sample {index}: {error}") from None
