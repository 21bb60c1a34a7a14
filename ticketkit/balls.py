"""The balls of a threat, an example at a time: a start in them, a direction, the nearest place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ticketkit.threats import ThreatModel


Generators = torch.Generator | Sequence[torch.Generator]
"""One for a batch, or one an example."""


def start(threat: ThreatModel, clean: torch.Tensor, generator: Generators) -> torch.Tensor:
    """The pictures, or points drawn uniformly from their balls, clipped to the box [0, 1].

    Generators may be on another device. Pictures of any dtype start at the same points.
    """
    if threat.start == "zero":
        return clean
    if isinstance(generator, torch.Generator):
        place = _drawn(threat, clean.shape, generator)
    else:
        drawn = [_drawn(threat, clean[:1].shape, each) for each in generator]
        place = torch.cat(drawn)
    return nearest(threat, clean + place.to(clean), clean)


def _drawn(threat: ThreatModel, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Points of the balls around zero."""
    place = torch.empty(shape, dtype=torch.float32, device=generator.device)
    if threat.norm == "linf":
        return place.uniform_(-threat.eps, threat.eps, generator=generator)
    place = direction(threat, place.normal_(generator=generator))
    shares = place.new_empty(len(place)).uniform_(generator=generator)
    return place * _column(threat.eps * shares ** (1 / place[0].numel()), place)


def direction(threat: ThreatModel, gradient: torch.Tensor) -> torch.Tensor:
    """Along which the loss rises most: signs, or each example at l2 length 1; zeros stay zeros."""
    if threat.norm == "linf":
        return gradient.sign()
    # The largest first: squares of what is very small or large leave the range of floats.
    largest = gradient.abs().flatten(1).amax(1)
    gradient = gradient / _column(_positive(largest), gradient)
    return gradient / _column(_positive(_length(gradient)), gradient)


def nearest(threat: ThreatModel, place: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """The nearest place in the ball around each picture, clipped to the box [0, 1].

    The picture is in the box, so clipping leads no farther from it.
    """
    if threat.norm == "linf":
        place = torch.clamp(place, clean - threat.eps, clean + threat.eps)
    else:
        moved = place - clean
        shrink = (threat.eps / _positive(_length(moved))).clamp(max=1)
        place = clean + moved * _column(shrink, moved)
    return place.clamp(0, 1)


def _length(rows: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = torch.linalg.vector_norm(rows.flatten(1), dim=1)
    return lengths


def _positive(values: torch.Tensor) -> torch.Tensor:
    return torch.where(values > 0, values, 1)


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """One number an example, to be multiplied with them."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
