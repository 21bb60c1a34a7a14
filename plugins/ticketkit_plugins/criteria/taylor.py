"""Criterion `taylor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import ticketkit

if TYPE_CHECKING:
    import torch


class Taylor(ticketkit.Criterion):
    """The mean over batches of |weight * d loss / d weight|, of first order and without the square.

    Molchanov et al. 2019, arXiv 1906.10771. It needs a network and data: `prune --task` gives the
    first 1024 training pictures of a task, in an order that the seed draws, and
    ticketkit.draw(model, criterion="taylor", batches=..., ...) whatever you like. Frozen parameters
    count like others; one that the network does not use scores zero.
    """

    name = "taylor"
    elementwise = False

    def collect(
        self,
        model: torch.nn.Module,
        batches: Iterable[tuple[Any, Any]],
        loss: Callable[[Any, Any], torch.Tensor],
    ) -> Mapping[str, torch.Tensor]:
        import torch

        weights = {n: w for n, w in model.named_parameters() if w.requires_grad}
        sums = {n: torch.zeros_like(w.detach().abs(), dtype=_wide(w)) for n, w in weights.items()}
        count = 0
        for count, (inputs, targets) in enumerate(batches, 1):
            try:
                outputs = model(inputs)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise ticketkit.UsageError(
                    f"batch {count}: the network does not take its inputs: {reason}"
                ) from error
            value = loss(outputs, targets)
            gradients = torch.autograd.grad(value, tuple(weights.values()), allow_unused=True)
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                if gradient is None:  # the network does not use it
                    continue
                if not torch.isfinite(gradient).all():
                    raise ticketkit.InputError(
                        f"batch {count}: the gradient of {name} is NaN or infinite"
                    )
                sums[name] += weight.detach().abs().to(sums[name].dtype) * gradient.abs()
        return {name: total / count for name, total in sums.items()}

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        assert context.statistic is not None
        return context.statistic


def _wide(weight: torch.Tensor) -> torch.dtype:
    """The dtype to add up in: float64 for weights in it, float32 for all others."""
    import torch

    return torch.promote_types(weight.detach().abs().dtype, torch.float32)


@ticketkit.hookimpl
def ticketkit_criteria() -> Iterator[type[ticketkit.Criterion]]:
    yield Taylor
