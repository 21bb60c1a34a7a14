"""Frechet's distance between the Gaussians that fit two sets of features best."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ticketkit.errors import EvaluationError, InputError

if TYPE_CHECKING:
    import torch

    Matrix = np.ndarray[Any, np.dtype[np.float64]]


class Moments:
    """Mean and covariance of features that come in parts, in float64.

    The parts are pooled as Chan, Golub and LeVeque (1983) do, so that no sum of squares is taken
    far from the mean.
    """

    def __init__(self) -> None:
        self.n = 0
        self.mean: Matrix = np.zeros(0)
        """Shape (d,)."""
        self._scatter: Matrix = np.zeros((0, 0))

    @property
    def width(self) -> int:
        """How many features a sample has."""
        return len(self.mean)

    @property
    def covariance(self) -> Matrix:
        """With the divisor N - 1, shape (d, d). An `InputError` for fewer than two samples."""
        if self.n < 2:
            raise InputError(f"a covariance needs two samples or more, found {self.n}")
        return self._scatter / (self.n - 1)

    def update(self, features: torch.Tensor | Matrix) -> None:
        """Add features (n, d). An `EvaluationError` names the first sample that is not finite."""
        part = _rows(features)
        if not self.n:
            self.mean, self._scatter = np.zeros(part.shape[1]), np.zeros((part.shape[1],) * 2)
        if part.shape[1] != self.width:
            raise InputError(f"expected {self.width} features a sample, found {part.shape[1]}")
        if not (finite := np.isfinite(part).all(1)).all():
            bad = self.n + finite.argmin()
            raise EvaluationError(f"sample {bad}: its features are NaN or infinite")
        if len(part):
            self._pool(part)

    def _pool(self, part: Matrix) -> None:
        mean = part.mean(0)
        part, away, n = part - mean, mean - self.mean, self.n + len(part)
        self._scatter += part.T @ part
        self._scatter += np.outer(away, away * (self.n * len(part) / n))
        self.mean = self.mean + away * (len(part) / n)
        self.n = n

    def shortage(self) -> str | None:
        """What to know of a covariance that has no full rank as there are few samples."""
        if self.n > self.width:
            return None
        return (
            f"{self.n:,} samples of {self.width:,} features: the covariance has rank "
            f"{self.n - 1:,} at most, and the distance comes out too large"
        )


def frechet_distance(a: torch.Tensor | Matrix, b: torch.Tensor | Matrix) -> float:
    """|m1 - m2|^2 + Tr(S1 + S2 - 2 sqrt(S1 S2)) of features a (N, d) and b (M, d), in float64.

    m are their means and S their covariances, with the divisor N - 1: the squared distance of
    Dowson and Landau (1982), which is the FID (Heusel et al. 2017) where an Inception network made
    the features. With N <= d there is a warning, as the covariance has no full rank. Raises an
    `InputError` for fewer than two samples or widths that differ, an `EvaluationError` for features
    that are not finite.

    >>> frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]]))  # 4^2 + 2 + 8 - 2 * 4
    18.0
    """
    both = Moments(), Moments()
    for moments, features in zip(both, (a, b), strict=True):
        moments.update(features)
    found = distance(*both)
    for moments in both:
        if told := moments.shortage():
            warnings.warn(told, stacklevel=2)
    return found


def distance(a: Moments, b: Moments) -> float:
    """Frechet's distance, squared, between Gaussians of these means and covariances.

    With S = A A^T for both, the trace of sqrt(S1 S2) is the sum of the singular values of A1^T A2:
    nothing here can become complex, and no eigenvalue of a product of matrices is needed.
    """
    from scipy.linalg import svdvals

    if a.width != b.width:
        raise InputError(f"the features differ in width: {a.width} and {b.width}")
    first, second = a.covariance, b.covariance
    between = svdvals(_root(first).T @ _root(second)).sum()
    away = a.mean - b.mean
    return max(0.0, float(away @ away + first.trace() + second.trace() - 2 * between))


def _root(covariance: Matrix) -> Matrix:
    """A with A A^T the covariance, whose eigenvalues may be below 0 by rounding alone."""
    from scipy.linalg import eigh

    values, vectors = eigh(covariance)
    return vectors * np.sqrt(values.clip(min=0))  # type: ignore[no-any-return]


def _rows(features: Any) -> Matrix:
    if hasattr(features, "detach"):
        features = features.detach().cpu().double()
    found = np.asarray(features)
    if found.ndim != 2 or not found.shape[1] or found.dtype.kind not in "fiu":
        raise InputError(
            f"features are numbers of shape (N, d), found {found.dtype} of {list(found.shape)}"
        )
    return found.astype(np.float64)
