"""Masks that are learned, from parts and a network: what a strategy's job does, by hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

import ticketkit
from ticketkit.budgets import Budget, budget_of
from ticketkit.choices import Parts
from ticketkit.grids import block_scores, tilings_of
from ticketkit.learned import LearnedMask, learning
from ticketkit.prunable import survey
from ticketkit.roles import of_network

Tensors = Mapping[str, torch.Tensor]


class Learner:
    """A job: learns the mask of a network, which is left alone, on `data`."""

    last = None

    def __init__(
        self,
        network: nn.Module,
        scheme: Any = "unstructured",
        sparsity: float | None = 0.5,
        allocation: str = "uniform",
        *,
        data: Any = None,
        schedule: Any = "small",
        seed: int = 0,
    ) -> None:
        self.network = network
        self.data, self.schedule, self.seed = data, schedule, seed
        self.parts = Parts.resolve(scheme, "magnitude", allocation, "omp")
        self.sparsity = self.parts.sparsity(sparsity)
        self.layers = survey(of_network(network), spares=self.parts.spares).layers
        self.tilings = tilings_of(self.parts.scheme, self.layers)
        self.trained: LearnedMask | None = None
        self.first: ticketkit.Mask | None = None

    @property
    def budget(self) -> Budget:
        """What may be kept."""
        return budget_of(self.parts, self.layers, self.sparsity, allow_empty_layers=False)

    def select(self, scores: Tensors) -> ticketkit.Mask:
        """The scheme's mask, in the parameters' own shapes."""
        mask = self.parts.scheme.select(scores, self.budget, None)
        return ticketkit.Mask({n: layer.restore(mask[n]) for n, layer in self.layers.items()})

    def block_scores(self) -> dict[str, torch.Tensor]:
        """The mean magnitude of each block."""
        weights = {n: self.network.get_parameter(n).detach() for n in self.layers}
        found = {n: layer.present(weights[n]).abs() for n, layer in self.layers.items()}
        return block_scores(found, self.tilings)

    def generator(self, name: str) -> torch.Generator:
        """The lots of a layer."""
        return ticketkit.Context(name, self.seed).generator

    def random_scores(self, seed: int = 0) -> dict[str, torch.Tensor]:
        """Normal scores of either sign."""
        generator = torch.Generator().manual_seed(seed)
        grids = {name: tiling.grid for name, tiling in self.tilings.items()}
        return {name: torch.randn(grid, generator=generator) for name, grid in grids.items()}

    def learning(self, scores: Tensors | None = None) -> AbstractContextManager[LearnedMask]:
        """The network itself, its mask to be learned."""
        begun = self.random_scores() if scores is None else scores
        return learning(self.network, self.layers, self.tilings, begun, self.select)

    def learn(self, scores: Tensors) -> ticketkit.Mask:
        """The mask that a training of a copy ends with."""
        copied = Learner(copy.deepcopy(self.network), **self._options())
        with copied.learning(scores) as learned:
            self.first = learned.mask()
            if self.data is not None:
                ticketkit.fit(
                    learned, self.data, schedule=self.schedule, stage="mask", seed=self.seed
                )
            self.trained = learned
            return learned.mask()

    def _options(self) -> dict[str, Any]:
        scheme, allocation = self.parts.scheme, ticketkit.spec_of(self.parts.allocation)
        return {"scheme": scheme, "sparsity": self.sparsity, "allocation": allocation}
