"""A frozen network whose mask is trained: a score for each block of each prunable weight.

Fu et al., DAC 2023, equation 2, after Ramanujan et al. 2020 (arXiv 1911.13299): forward keeps the
blocks of the largest |score|; backward takes the gradient of the mask for that of |score|, straight
through, also where a block is removed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from ticketkit.errors import TrainingError, UsageError, printable, some
from ticketkit.grids import block_sums, expanded
from ticketkit.heads import heads_of, only_heads
from ticketkit.layer import Layer
from ticketkit.mask import Mask, unwrap
from ticketkit.scoring import checked, version
from ticketkit.tiling import Tiling

Select = Callable[[Mapping[str, torch.Tensor]], Mask]


@contextlib.contextmanager
def learning(
    network: nn.Module,
    layers: Mapping[str, Layer],
    tilings: Mapping[str, Tiling],
    scores: Mapping[str, torch.Tensor],
    select: Select,
) -> Iterator[LearnedMask]:
    """The network with a mask to learn; in the block all its parameters but the heads' are frozen.

    Afterwards each of them requires gradients as it did. The arguments are those of `LearnedMask`.
    """
    network = unwrap(network)
    with only_heads(network):
        yield LearnedMask(network, layers, tilings, scores, select)


class LearnedMask(nn.Module):
    """A network that is run with the weights that the scores keep, and with +0.0 for the others.

    Scores get gradients; the network's own parameters do where they require them, see `learning`.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Mapping[str, Layer],
        tilings: Mapping[str, Tiling],
        scores: Mapping[str, torch.Tensor],
        select: Select,
    ) -> None:
        """`scores` has the scores to begin with: for each layer a number for each block of its
        tiling, in the shape of the grid.

        `select` is given the scores' magnitudes at each weight, float32 on the CPU, in the layers'
        presented shapes; it returns a mask over the layers, in their own shapes.

        Raises a `UsageError` where a layer is of a task head, which is trained and stays dense, and
        ValueError or TypeError for scores that do not fit.
        """
        super().__init__()
        _check_heads(network, layers)
        if odd := sorted(set(layers) ^ set(scores)):
            raise ValueError(f"scores must name every layer and no other; differs in {some(odd)}")
        self.network = network
        self._layers = {name: (layers[name], tilings[name]) for name in sorted(layers)}
        self._select = select
        # By their place: names of parameters have no dots.
        self.scores = nn.ParameterList(self._parameter(n, scores[n]) for n in self._layers)
        self._of: list[tuple[int, int]] = []  # the scores that mask and keeps are of
        self._mask: Mask
        self._keeps: list[torch.Tensor]

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the network makes of its inputs with the weights that are kept."""
        self._refresh()
        each = zip(self._layers.items(), self.scores, self._keeps, strict=True)
        weights = {
            name: _Masked.apply(score, self.network.get_parameter(name), keep, *shapes)
            for (name, shapes), score, keep in each
        }
        return functional_call(self.network, weights, inputs, options)

    def mask(self) -> Mask:
        """What the scores keep, in the parameters' own shapes."""
        self._refresh()
        return self._mask

    def _refresh(self) -> None:
        """Select anew where the scores have changed, or moved, since it was done last."""
        now = [(score.data_ptr(), version(score)) for score in self.scores]
        if now == self._of:
            return
        each = zip(self._layers, self.scores, strict=True)
        self._mask = self._select({name: self._magnitudes(name, score) for name, score in each})
        self._keeps = [self._keep(name) for name in self._layers]
        self._of = now

    def _magnitudes(self, name: str, score: torch.Tensor) -> torch.Tensor:
        found = score.detach().abs().cpu()
        if not torch.isfinite(found.amax()):
            raise TrainingError(
                f"scores of {printable(name)} are not finite: a lower learning rate may do"
            )
        return expanded(found, self._layers[name][1])

    def _keep(self, name: str) -> torch.Tensor:
        """Where a weight is kept, on its device and laid out in memory as it is."""
        weight = self.network.get_parameter(name)
        keep = torch.empty_like(weight, dtype=torch.bool, requires_grad=False)
        return keep.copy_(self._mask[name])

    def _parameter(self, name: str, scores: torch.Tensor) -> nn.Parameter:
        grid = torch.Size(self._layers[name][1].grid)
        found = checked(scores, grid, f"scores of {printable(name)}")
        device = self.network.get_parameter(name).device
        return nn.Parameter(found.to(device, torch.float32, copy=True))


class _Masked(torch.autograd.Function):
    """A weight where it is kept and +0.0 elsewhere; the gradient of the mask is the scores'."""

    @staticmethod
    def forward(
        ctx: Any,
        score: torch.Tensor,
        weight: torch.Tensor,
        keep: torch.Tensor,
        layer: Layer,
        tiling: Tiling,
    ) -> torch.Tensor:
        ctx.save_for_backward(score, weight)
        ctx.layer, ctx.tiling = layer, tiling
        return torch.where(keep, weight, 0)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        score, weight = ctx.saved_tensors
        of_mask = ctx.layer.present(gradient.to(score.dtype) * weight)
        of_magnitude = block_sums(of_mask, ctx.tiling)
        return torch.where(score < 0, -of_magnitude, of_magnitude), None, None, None, None


def _check_heads(network: nn.Module, layers: Mapping[str, Layer]) -> None:
    heads = [(path, network.get_submodule(path)) for path in heads_of(network)]
    names = {f"{path}.{name}" for path, head in heads for name, _ in head.named_parameters()}
    if pruned := sorted(names & set(layers)):
        raise UsageError(
            f"{some(pruned)}: a task head is trained beside the mask and stays dense; leave it out "
            "of include"
        )
