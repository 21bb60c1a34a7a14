"""Randomized smoothing: answers that no change of a picture within a radius can alter.

Cohen, Rosenfeld and Kolter 2019, arXiv 1902.02918. Of a network f, the smoothed network g answers
what f answers most often under noise: g(x) = argmax_c P(f(x + e) = c), with e ~ N(0, sigma^2 I).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator

import torch

from ticketkit.attacks import check_pixels
from ticketkit.batching import PIXELS
from ticketkit.certificates import (
    ABSTAIN,
    Abstention,
    Certificate,
    certified_radius,
    check_smoothing,
    fewest_votes,
)
from ticketkit.errors import EvaluationError, InputError
from ticketkit.guards import check_finite
from ticketkit.inference import called, evaluated
from ticketkit.pacing import Pace
from ticketkit.seeds import seed_of
from ticketkit.stacking import pixels

_MOST_ON_CPU = 64
_NUMBERS = 2**16  # drawn at a time: they stay in the cache


class Smoothed:
    """A network smoothed by normal noise of deviation `sigma`, on pixels in [0, 1].

    The network takes pictures in [0, 1] and normalises by itself; what noise carries out of [0, 1]
    is not clipped, for the theorem is of normal noise. It is in eval mode meanwhile, and left as it
    was. A picture's noise is a function of `seed`, of its `index` and of the kind of device that
    the network is on. Batches hold `batch` samples at most, for the sake of memory; their size is
    whichever turns out the fastest, and does not alter the noise. A device on which it alters the
    last bits of outputs may count a vote on the border of two classes otherwise.

    >>> smoothed = ticketkit.Smoothed(model, sigma=0.25)
    >>> smoothed.certify(picture, n=10_000)
    Certificate(prediction=3, radius=0.55..., votes=9900, n=10000)
    """

    def __init__(
        self, model: torch.nn.Module, sigma: float, *, seed: int = 0, batch: int | None = None
    ) -> None:
        check_smoothing(sigma=sigma, **({} if batch is None else {"batch": batch}))
        self.model, self.sigma, self.seed = model, sigma, seed
        self._batch = batch
        self._paces: dict[torch.Size, Pace] = {}

    def certify(
        self,
        picture: torch.Tensor,
        *,
        index: int = 0,
        n0: int = 100,
        n: int = 100_000,
        alpha: float = 0.001,
        radius: float | None = None,
    ) -> Certificate:
        """CERTIFY: the class of a picture, (channels, height, width), and a radius around it.

        `n0` samples guess the class. Of `n` others those that vote for it bound its probability
        from below (Clopper and Pearson 1934); where that is above 1/2, theorem 1 gives the radius.
        Otherwise it abstains. The answer is wrong with probability `alpha` at most.

        Given a `radius`, it stops as soon as the votes still to come cannot alter whether that one
        is reached: it abstains, or certifies the radius that is left if all of them were against
        it. Either is so of all `n` samples too, wherefore `alpha` holds. UsageError for numbers
        without meaning, InputError for what is no picture, EvaluationError for outputs that are
        not finite or not (batch, classes).
        """
        check_smoothing(sigma=self.sigma, alpha=alpha, radius=radius or 0.0, n0=n0, n=n)
        with evaluated(self.model):
            guess = int(self._counts(picture, n0, "guess", index).argmax())
            if radius is None:
                votes, drawn = int(self._counts(picture, n, "certify", index)[guess]), n
            else:
                needed = fewest_votes(radius, n, sigma=self.sigma, alpha=alpha)
                samples = self._samples(picture, n, "certify", index)
                votes, drawn = _until_decided(samples, guess, n, needed)
        found = certified_radius(votes, n, sigma=self.sigma, alpha=alpha)
        if not found or found < (radius or 0):
            return Certificate(ABSTAIN, 0.0, votes, drawn)
        return Certificate(guess, found, votes, drawn)

    def predict(
        self, picture: torch.Tensor, *, index: int = 0, n: int = 100_000, alpha: float = 0.001
    ) -> int | Abstention:
        """PREDICT: the class of a picture, (channels, height, width), or `ABSTAIN`.

        A two-sided binomial test of the two classes with most votes among `n` tells whether the
        first one is ahead by more than chance: the answer is not that of the smoothed network with
        probability `alpha` at most. Errors as of `certify`.
        """
        from scipy.stats import binomtest

        check_smoothing(sigma=self.sigma, alpha=alpha, n=n)
        with evaluated(self.model):
            votes, classes = self._counts(picture, n, "predict", index).topk(2)
        first, second = votes.tolist()
        ahead = binomtest(first, first + second, 0.5).pvalue <= alpha
        return int(classes[0]) if ahead else ABSTAIN

    def _counts(self, picture: torch.Tensor, n: int, stage: str, index: int) -> torch.Tensor:
        """SAMPLEUNDERNOISE: how often each class is answered, (classes,)."""
        return torch.cat(list(self._samples(picture, n, stage, index))).bincount(minlength=2)

    def _samples(
        self, picture: torch.Tensor, n: int, stage: str, index: int
    ) -> Iterator[torch.Tensor]:
        """The classes answered under `n` draws of noise, a batch at a time."""
        picture = self._placed(picture)
        generator = torch.Generator(picture.device)
        generator.manual_seed(seed_of(self.seed, "smoothing", stage, index))
        copies = _Copies(picture, self.sigma, generator)
        pace = self._pace(picture)
        while n:
            count = min(n, pace.size)
            if n - count == 1 and count > 2:
                # Where they hold more than two no batch of one is left over: networks compute it
                # otherwise, to other last bits.
                count -= 1
            start = time.perf_counter()
            yield self._answers(copies.take(count), index)
            pace.took(count, time.perf_counter() - start)
            n -= count

    def _placed(self, picture: torch.Tensor) -> torch.Tensor:
        """A picture in float32 on the network's device, if it is one."""
        shape = list(getattr(picture, "shape", ()))
        if not isinstance(picture, torch.Tensor) or picture.dim() != 3 or not picture.numel():
            found = f"shape {shape}" if shape else type(picture).__name__
            raise InputError(
                f"a picture is a tensor of pixels, (channels, height, width), found {found}"
            )
        picture = pixels(picture.detach())
        check_pixels(picture[None])
        tensors = itertools.chain(self.model.parameters(), self.model.buffers())
        return picture.to(next(tensors, picture).device, torch.float32)

    def _pace(self, picture: torch.Tensor) -> Pace:
        if picture.shape not in self._paces:
            most = max(1, PIXELS // math.prod(picture.shape[-2:]))
            if picture.device.type == "cpu":  # beyond its caches there is nothing to be found
                most = min(most, _MOST_ON_CPU)
            self._paces[picture.shape] = Pace(min(most, self._batch or most))
        return self._paces[picture.shape]

    def _answers(self, inputs: torch.Tensor, index: int) -> torch.Tensor:
        outputs = called(self.model, inputs, f"sample {index}")
        if outputs.dim() != 2 or len(outputs) != len(inputs) or outputs.shape[1] < 2:
            raise EvaluationError(
                "smoothing takes outputs (batch, classes) of two or more classes, found "
                f"{tuple(outputs.shape)} of a batch of {len(inputs)}"
            )
        check_finite(outputs.reshape(1, -1), index)
        return outputs.argmax(1).cpu()


def _until_decided(
    samples: Iterator[torch.Tensor], guess: int, n: int, needed: int
) -> tuple[int, int]:
    """The votes for the guess and the samples at which it is sure whether `needed` are reached."""
    votes = drawn = 0
    for answers in samples:
        # After each sample, not each batch, so that the size of batches does not tell.
        agreeing = votes + (answers == guess).cumsum(0)
        seen = drawn + torch.arange(1, len(answers) + 1)
        decided = (agreeing >= needed) | (seen - agreeing > n - needed)
        at = int(decided.int().argmax()) if decided.any() else -1
        votes, drawn = int(agreeing[at]), int(seen[at])
        if decided.any():
            break
    return votes, drawn


class _Copies:
    """Copies of a picture, each under noise of its own, in an order that no batch alters."""

    def __init__(self, picture: torch.Tensor, sigma: float, generator: torch.Generator) -> None:
        self._picture, self._sigma, self._generator = picture, sigma, generator
        self._chunk = max(1, _NUMBERS // picture.numel())
        self._left = picture.new_empty(0, *picture.shape)

    def take(self, count: int) -> torch.Tensor:
        """The next ones, (count, ...)."""
        # In portions of one size: the generator gives other numbers in other ones.
        chunks = -(-max(0, count - len(self._left)) // self._chunk)
        drawn = self._picture.new_empty(chunks, self._chunk, *self._picture.shape)
        for portion in drawn:
            portion.normal_(0, self._sigma, generator=self._generator)
        pool = torch.cat([self._left, drawn.add_(self._picture).flatten(0, 1)])
        taken, self._left = pool[:count], pool[count:]
        return taken
