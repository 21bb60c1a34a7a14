"""What the laws are tried on: every kind of layer in small, and the same network in other guises.

Everything here is the same each time, and leaves torch's global generator as it was.
"""

from __future__ import annotations

import contextlib
import copy
import random
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

import ticketkit

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(12, 10),
    "conv1d": lambda: nn.Conv1d(6, 8, 5),
    "conv2d": lambda: nn.Conv2d(3, 8, 3),
    "conv3d": lambda: nn.Conv3d(2, 6, (1, 2, 3)),
    "pointwise": lambda: nn.Conv2d(8, 6, 1),
    "grouped": lambda: nn.Conv2d(8, 12, 3, groups=4),
    "depthwise": lambda: nn.Conv2d(8, 8, 3, groups=8),
    "transposed": lambda: nn.ConvTranspose2d(6, 4, 3),
    "transposed_grouped": lambda: nn.ConvTranspose2d(6, 9, (3, 2), groups=3),
    "uneven": lambda: nn.Conv2d(5, 7, (3, 2)),
    "attention": lambda: nn.MultiheadAttention(6, 2),
    "one_weight": lambda: nn.Linear(1, 1),
}
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def networks() -> dict[str, nn.ModuleDict]:
    """A network of each kind of layer, one of them all, and one whose weights are all equal."""
    alone = {name: network(name) for name in LAYERS}
    return {**alone, "mixed": mixed(), "tied": tied()}


def network(*names: str) -> nn.ModuleDict:
    """The layers of these names and a normalisation, with normal weights of very unlike scales."""
    with torch.random.fork_rng(devices=[]):
        layers = nn.ModuleDict({name: LAYERS[name]() for name in names})
        layers["norm"] = nn.BatchNorm2d(3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for index, parameter in enumerate(layers.parameters()):
            parameter.normal_(generator=generator).mul_(4.0 ** -(index % 5))
    return layers


def mixed() -> nn.ModuleDict:
    """One network of all kinds of layers."""
    return network(*LAYERS)


def tied() -> nn.ModuleDict:
    """A network whose weights are all of one magnitude: only the order of positions decides."""
    found = mixed()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.copy_(parameter.sign() / 2)
    return found


class Runnable(nn.ModuleDict):
    """A small network that runs: a convolution, a normalisation, a linear layer."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Four scores for each picture of two channels."""
        found: torch.Tensor = self["norm"](self["conv"](pictures)).relu()
        scores: torch.Tensor = self["linear"](found.mean((2, 3)))
        return scores


def runnable() -> Runnable:
    """The network that criteria which look at data are tried on, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = {"conv": nn.Conv2d(2, 6, 3), "norm": nn.BatchNorm2d(6), "linear": nn.Linear(6, 4)}
        return Runnable(layers)


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pictures and classes for `runnable`, in two batches, the same each time."""
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randn(2, 5, 2, 6, 6, generator=generator)
    classes = torch.randint(4, (2, 5), generator=generator)
    return list(zip(pictures, classes, strict=True))


def pictures(count: int = 5, side: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures in [0, 1] and classes for `runnable`, the same each time."""
    generator = torch.Generator().manual_seed(2)
    found = torch.rand(count, 2, side, side, generator=generator)
    return found, torch.randint(4, (count,), generator=generator)


class Segmenting(nn.ModuleDict):
    """A small network that scores three classes at each pixel."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Shape (batch, 3, height, width), of pictures of two channels."""
        scores: torch.Tensor = self["norm"](self["conv"](pictures))
        return scores


def segmenting() -> Segmenting:
    """The network that parts are tried on where each pixel has a class, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Segmenting({"conv": nn.Conv2d(2, 3, 3, padding=1), "norm": nn.BatchNorm2d(3)})


def maps(count: int = 5, side: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and their pixels' classes for `segmenting`; some are 255, in one picture all."""
    found, _ = pictures(count, side)
    generator = torch.Generator().manual_seed(3)
    classes = torch.randint(3, (count, side, side), generator=generator)
    classes[0] = ticketkit.IGNORED
    classes[1, :2] = ticketkit.IGNORED
    return found, classes


def in_training(model: nn.Module) -> nn.Module:
    """The network amid its training: its first layer is frozen, its last one evaluates, and has
    gradients."""
    first, *_, last = model.train().children()
    first.requires_grad_(requires_grad=False)
    for parameter in last.eval().parameters():
        parameter.grad = torch.ones_like(parameter)
    return model


def layers_of(model: nn.Module) -> dict[str, ticketkit.Layer]:
    """The prunable weights of one of these networks, as parts see them."""
    found = {}
    for name, parameter in model.named_parameters():
        owner = model.get_submodule(name.rpartition(".")[0])
        if parameter.dim() > 1:
            groups = owner.groups if isinstance(owner, _TRANSPOSED) else None
            found[name] = ticketkit.Layer.of(name, tuple(parameter.shape), groups)
    return found


def scores_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Scores as a scheme is given them, negative ones among them."""
    weights = {name: p.detach() for name, p in model.named_parameters()}
    return {name: layer.present(weights[name]) for name, layer in layers_of(model).items()}


def reordered(model: nn.ModuleDict) -> nn.Module:
    """The same network, its layers registered in the opposite order."""
    return type(model)(dict(reversed(list(model.items()))))


def channels_last(model: nn.Module) -> nn.Module:
    """A copy whose weights are stored with their channels last, whatever their dimensions."""
    return _stored(model, lambda weight: weight.movedim(1, -1).contiguous().movedim(-1, 1))


def strided(model: nn.Module) -> nn.Module:
    """A copy whose weights are every second element of larger tensors."""
    return _stored(model, lambda weight: weight.repeat_interleave(2, dim=-1)[..., ::2])


def converted(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy in another dtype."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls complex modules a new feature
        return copy.deepcopy(model).to(dtype)


def magnitudes(model: nn.Module) -> nn.Module:
    """A copy that holds the absolute values of the weights, in float32."""
    found = copy.deepcopy(model)
    for parameter in found.parameters():
        parameter.data = parameter.detach().abs().float()
    return found


def snapshot(model: nn.Module) -> dict[str, object]:
    """All that a part must leave alone: every bit of the network, its modes, the generators."""
    tensors = {**model.state_dict(keep_vars=True)}
    tensors |= {f"the gradient of {n}": p.grad for n, p in model.named_parameters()}
    found: dict[str, object] = {
        n: None if t is None else (id(t), t.stride(), t.requires_grad, t.detach().numpy().tobytes())
        for n, t in tensors.items()
    }
    found["training mode"] = [module.training for module in model.modules()]
    return found | generators()


def generators() -> dict[str, object]:
    """The states of all global generators, by what they are called."""
    _, key, position, *_ = np.random.get_state()
    return {
        "torch's global generator": torch.random.get_rng_state().numpy().tobytes(),
        "NumPy's global generator": (np.asarray(key).tobytes(), position),
        "Python's global generator": random.getstate(),
    }


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """All global generators begin from this seed; afterwards they are as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _stored(model: nn.Module, store: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    found = copy.deepcopy(model)
    for parameter in found.parameters():
        if parameter.dim() > 1:
            parameter.data = store(parameter.detach())
    return found
