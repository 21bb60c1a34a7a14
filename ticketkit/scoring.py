"""Scores of weights, read in pieces: a criterion is never asked for more than stays in cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn, Protocol

import numpy as np
import torch

from ticketkit.blame import blamed
from ticketkit.errors import WeightsError, printable
from ticketkit.layer import Layer
from ticketkit.parts import Context, Criterion
from ticketkit.tiling import PIECE, Floats, Integers


class Reader(Protocol):
    """The scores of one layer, flat in C order of its presented shape, as float32 or float64."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The presented shape, (out, in/groups, *kernel)."""

    def read(self, start: int, stop: int) -> Floats:
        """The scores of elements [start, stop)."""

    def gather(self, index: Integers) -> Floats:
        """The scores of the elements at these positions."""


class Scores(Mapping[str, torch.Tensor]):
    """Scores by parameter name, in code-point order; computed when they are read, never kept.

    `scores[name]` is a whole layer's scores in its presented shape (out, in/groups, *kernel).
    """

    def __init__(
        self,
        layers: Mapping[str, Layer],
        weight: Callable[[Layer], torch.Tensor],
        criterion: Criterion,
        seed: int,
        statistics: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self.layers = {name: layers[name] for name in sorted(layers)}
        self._weight = weight
        self._criterion = criterion
        self._seed = seed
        self._statistics = statistics or {}

    def __getitem__(self, name: str) -> torch.Tensor:
        layer = self.layers[name]
        return torch.from_numpy(self.reader(name).read(0, layer.size)).reshape(layer.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def reader(self, name: str) -> Reader:
        """Read one layer's scores in pieces."""
        layer = self.layers[name]
        statistic = self._statistics.get(name)
        if statistic is not None:
            statistic = layer.present(statistic)
        ask = _Question(self._criterion, layer, Context(name, self._seed, statistic))
        weight = self._weight(layer)
        if self._criterion.elementwise and statistic is None:
            return _Elementwise(ask, layer.present(weight).reshape(-1))
        whole = _ranked(layer.present(weight))
        if not _finite(whole):
            _refuse(whole, layer.name)
        return TensorReader(ask(whole))


def reader_of(scores: Mapping[str, torch.Tensor], name: str) -> Reader:
    """The reader of one layer, from `Scores` or from plain tensors."""
    if isinstance(scores, Scores):
        return scores.reader(name)
    return TensorReader(checked(scores[name], scores[name].shape, f"scores of {printable(name)}"))


def shape_of(scores: Mapping[str, torch.Tensor], name: str) -> tuple[int, ...]:
    """The presented shape of one layer."""
    return scores.layers[name].shape if isinstance(scores, Scores) else tuple(scores[name].shape)


class TensorReader:
    """Scores that are there as a whole."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.shape = tuple(scores.shape)
        self._flat: Floats = scores.contiguous().reshape(-1).numpy()

    def read(self, start: int, stop: int) -> Floats:
        return self._flat[start:stop]

    def gather(self, index: Integers) -> Floats:
        return self._flat[index]


class _Elementwise:
    """Scores that are computed from the weights piece by piece."""

    def __init__(self, ask: _Question, flat: torch.Tensor) -> None:
        self.shape = ask.layer.shape
        self._ask = ask
        self._flat = flat

    def read(self, start: int, stop: int) -> Floats:
        if stop - start <= 2 * PIECE:
            return self._score(self._flat[start:stop])
        cuts = range(start, stop, PIECE)
        return np.concatenate([self.read(cut, min(cut + PIECE, stop)) for cut in cuts])

    def gather(self, index: Integers) -> Floats:
        places = torch.from_numpy(index).to(self._flat.device)
        return self._score(self._flat.index_select(0, places))

    def _score(self, piece: torch.Tensor) -> Floats:
        piece = _ranked(piece)
        if not _finite(piece):
            _refuse(self._flat, self._ask.layer.name)
        scores: Floats = self._ask(piece).numpy()
        return scores


class _Question:
    """One criterion asked about one layer, its answer checked."""

    def __init__(self, criterion: Criterion, layer: Layer, context: Context) -> None:
        self.layer = layer
        self._criterion = criterion
        self._context = context

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        before = version(weight)
        with blamed(self._criterion):
            scores = self._criterion.score(weight, self._context)
            if version(weight) != before:
                raise ValueError(f"{self} changed the weights it was given to score")
            return checked(scores, weight.shape, self)

    def __str__(self) -> str:
        return f"score for {printable(self.layer.name)}"


def version(weight: torch.Tensor) -> int:
    """How often the weight was changed in place, as far as torch counts it."""
    return 0 if weight.is_inference() else weight._version


def _ranked(weight: torch.Tensor) -> torch.Tensor:
    """The weights as real float32 or float64, on the CPU: what criteria are given."""
    if weight.requires_grad or not weight.is_cpu:
        weight = weight.detach().cpu()
    if weight.is_complex():
        weight = weight.abs()
    return weight if weight.dtype in (torch.float32, torch.float64) else weight.float()


def _finite(values: torch.Tensor) -> bool:
    # A sum is finite only if all its terms are, and costs a fifth of asking each of them.
    return math.isfinite(values.sum().item()) or bool(torch.isfinite(values).all())


def _refuse(weight: torch.Tensor, name: str) -> NoReturn:
    bad = int((~torch.isfinite(_ranked(weight))).sum())
    raise WeightsError(
        f"{printable(name)}: {bad:,} of {weight.numel():,} weights are NaN or infinite "
        "(--exclude spares it)"
    )


def checked(scores: object, shape: torch.Size, what: object) -> torch.Tensor:
    """What a part returned, as a CPU float32 or float64 tensor of this shape, all of it finite."""
    if not isinstance(scores, torch.Tensor):
        raise TypeError(f"{what} returned {type(scores).__name__}, where a tensor was expected")
    if scores.shape != shape:
        raise ValueError(
            f"{what} returned shape {tuple(scores.shape)}, where {tuple(shape)} was expected"
        )
    if not scores.is_floating_point():
        raise TypeError(f"{what} returned {scores.dtype}, where a floating dtype was expected")
    scores = _ranked(scores)
    if not _finite(scores):
        raise ValueError(f"{what} returned NaN or infinite numbers")
    return scores
