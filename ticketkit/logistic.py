"""Multinomial logistic regression on features: what linear evaluation fits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ticketkit.errors import EvaluationError, TrainingError, UsageError
from ticketkit.guards import check_finite, check_labels

_TOLERANCE = 1e-8  # of the gradient's norm
_STEPS = 200


def fit_logistic(
    features: torch.Tensor, targets: torch.Tensor, classes: int, *, l2: float = 1e-3
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight (classes, F) and bias (classes,), in float64, of the best linear classifier.

    It minimises the mean cross-entropy plus l2 / 2 times the squared norm of the weight, bias left
    out, on features (N, F) that are standardised: less their mean, over their population standard
    deviation; a feature that never varies has weight 0. What is returned acts on features as they
    were given. `targets` (N,) are labels 0 to classes - 1. It works on the device of the features;
    on one machine the same data give the same bits.

    EvaluationError for data that cannot be fitted, UsageError unless l2 > 0: then there may be no
    best one.
    """
    if not 0 < l2 < math.inf:
        raise UsageError(f"l2 is a number above 0, found {l2}")
    if features.dim() != 2 or targets.shape != features.shape[:1] or not len(features):
        raise EvaluationError(
            "expected features (N, F) and targets (N,) of at least one sample, found "
            f"{tuple(features.shape)} and {tuple(targets.shape)}"
        )
    check_finite(features)
    check_labels(targets, classes)
    design, centre, scale = _standardised(features)
    penalty = torch.full_like(design[0], l2)
    penalty[-1] = 0
    loss = _Loss(design, targets.to(features.device).long(), penalty)
    fitted = _minimum(loss, design.new_zeros(classes, design.shape[1]))
    weight = fitted[:, :-1] / scale
    return weight, fitted[:, -1] - weight @ centre


def _standardised(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The design (N, F + 1), whose last column is one, and the means and deviations, (F,)."""
    count, width = features.shape
    design = features.new_ones(count, width + 1, dtype=torch.float64)
    design[:, :-1] = features
    varying = design[:, :-1]
    centre = varying.mean(0)
    varying -= centre
    scale = torch.linalg.vector_norm(varying, dim=0) / math.sqrt(count)
    # Of a constant, rounding would leave noise, which must not be blown up.
    constant = features.amin(0) == features.amax(0)
    scale[constant] = 1
    varying[:, constant] = 0
    varying /= scale
    return design, centre, scale


@dataclass(frozen=True)
class _Loss:
    """The penalised mean cross-entropy of a matrix (classes, F + 1), and its derivatives."""

    design: torch.Tensor
    targets: torch.Tensor
    penalty: torch.Tensor

    def at(self, matrix: torch.Tensor) -> tuple[float, torch.Tensor]:
        """The loss, and the probabilities (classes, N): products are twice as fast this way."""
        logs = torch.log_softmax(matrix @ self.design.T, 0)
        entropy = -logs.gather(0, self.targets[None]).mean()
        return (entropy + (self.penalty * matrix.square()).sum() / 2).item(), logs.exp_()

    def gradient(self, matrix: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """The gradient at the matrix, whose probabilities are given."""
        less = shares.new_full(self.targets[None].shape, -1)
        errors = shares.scatter_add(0, self.targets[None], less)
        return errors @ self.design / len(self.targets) + self.penalty * matrix

    def curvature(self, step: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """The Hessian, where the probabilities are given, times a step."""
        moved = shares * (step @ self.design.T)
        moved -= shares * moved.sum(0)
        return moved @ self.design / len(self.targets) + self.penalty * step


def _minimum(loss: _Loss, matrix: torch.Tensor) -> torch.Tensor:
    """Newton's method, its steps found by conjugate gradients and halved where they overshoot."""
    value, shares = loss.at(matrix)
    for _ in range(_STEPS):
        gradient = loss.gradient(matrix, shares)
        if (size := gradient.norm().item()) <= _TOLERANCE:
            return matrix
        step = _newton_step(loss, gradient, shares)
        slope = (gradient * step).sum().item()
        share = 1.0
        while True:
            moved = matrix + share * step
            found, shares = loss.at(moved)
            # The last steps gain less than the loss is rounded by.
            if found <= value + 1e-4 * share * slope + 1e-15 * abs(value) or share < 1e-9:
                break
            share /= 2
        matrix, value = moved, found
    raise TrainingError(f"the logistic regression did not converge: gradient {size:.1e}")


def _newton_step(loss: _Loss, gradient: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Solve Hessian · step = -gradient, the more exactly the smaller the gradient is."""
    step, residual = torch.zeros_like(gradient), -gradient
    direction, square = residual, residual.square().sum().item()
    enough = square * min(0.25, math.sqrt(square))
    for _ in range(gradient.numel()):
        curved = loss.curvature(direction, shares)
        length = square / (direction * curved).sum().item()
        step = step + length * direction
        residual = residual - length * curved
        before, square = square, residual.square().sum().item()
        if square <= enough:
            break
        direction = residual + square / before * direction
    return step
