"""Linear evaluation: a new head on features that a network's body extracts once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ticketkit.errors import InputError, UsageError, near, printable
from ticketkit.guards import check_finite
from ticketkit.inference import evaluated, outputs_of
from ticketkit.logistic import fit_logistic
from ticketkit.mask import unwrap

if TYPE_CHECKING:
    from ticketkit.parts import Batches, Dataset


def probe(
    model: torch.nn.Module,
    head_path: str,
    data: Dataset | Batches,
    *,
    l2: float = 1e-3,
    batch: int = 256,
) -> None:
    """Fit the network's head, a linear layer with a bias, on data, and change nothing else.

    `extract` says what of the network and the data, `fit_logistic` what is minimised.
    """
    head = _head(model, head_path)
    if not isinstance(head, torch.nn.Linear) or head.bias is None:
        raise UsageError(f"{head_path} is no linear layer with a bias: it is {head}")
    features, targets = extract(model, head_path, data, batch=batch)
    weight, bias = fit_logistic(features, targets, head.out_features, l2=l2)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)


def extract(
    model: torch.nn.Module, head_path: str, data: Dataset | Batches, *, batch: int = 256
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the head is given: features (N, F) in float32 and targets (N,), on the CPU.

    `head_path` names a module, such as "fc". The network is in eval mode, without gradients, and
    left as it was; `evaluate` says what data may be. EvaluationError where features are not finite.
    """
    features: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []
    first = 0
    hook = _head(model, head_path).register_forward_pre_hook(_catching(features))
    try:
        with evaluated(model):
            for _, labels in outputs_of(model, data, batch):
                targets.append(labels.cpu())
                if len(features) != len(targets) or features[-1].dim() != 2:
                    raise InputError(f"{head_path} is not given features (batch, F) once a batch")
                check_finite(features[-1], first)
                first += len(labels)
    finally:
        hook.remove()
    return torch.cat(features), torch.cat(targets)


def _catching(caught: list[torch.Tensor]) -> Any:
    def catch(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        caught.append(inputs[0].to("cpu", torch.float32, copy=True))

    return catch


def _head(model: torch.nn.Module, path: str) -> torch.nn.Module:
    modules: dict[str, torch.nn.Module] = dict(unwrap(model).named_modules())
    if not path or path not in modules:
        known = list(modules)
        raise UsageError(f"the network has no module {printable(path)!r}{near(path, known)}")
    return modules[path]
