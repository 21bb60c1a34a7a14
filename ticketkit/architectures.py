"""Specs of networks, as `--arch` takes them, and the networks that they mean.

`resnet50` and its like are torchvision's; `resnet18:width=16,stem=small` is one of ours;
`timm:NAME` is timm's; `package.module:callable` is anyone's. Options of the last two follow a
second colon. Nothing is ever downloaded.
"""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from torch import nn

from ticketkit.errors import UsageError, near, printable
from ticketkit.options import configured, imported, literal, parsed
from ticketkit.resnets import BLOCKS, FcnResNet, ResNet, ResNetOptions

_FCN = "fcn_"
# What ticketkit decides: the task says how many classes there are, and no weights are fetched.
_DECIDED = ("pretrained", "num_classes", "checkpoint_path")


class Architecture(ABC):
    """A kind of network, of which one is built for so many classes."""

    segmenter: bool | None
    """Whether each pixel has a class; None where only the network itself can tell."""
    any_channels: ClassVar[bool] = False
    """Whether it is built for as many channels as pictures have."""
    any_classes: ClassVar[bool] = True
    """Whether it is built for as many classes as a task has; the head of any other is replaced."""

    @abstractmethod
    def build(self, classes: int, channels: int) -> nn.Module:
        """A network with random weights, drawn from torch's generator."""


@dataclass(frozen=True)
class OurResNet(Architecture):
    """A residual network of any width."""

    name: str
    options: ResNetOptions
    any_channels = True

    @property
    def segmenter(self) -> bool:  # type: ignore[override]
        return self.name.startswith(_FCN)

    def build(self, classes: int, channels: int) -> nn.Module:
        kind = FcnResNet if self.segmenter else ResNet
        return kind(self.name.removeprefix(_FCN), self.options, channels, classes)


@dataclass(frozen=True)
class OfTorchvision(Architecture):
    """A classifier or segmenter of torchvision."""

    name: str
    segmenter: bool

    def build(self, classes: int, channels: int) -> nn.Module:
        from torchvision.models import get_model

        options = {"weights_backbone": None} if self.segmenter else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of how two of them are initialised
            model: nn.Module = get_model(self.name, weights=None, num_classes=classes, **options)
        return model


@dataclass(frozen=True)
class OfTimm(Architecture):
    """A classifier of timm."""

    name: str
    options: Mapping[str, Any]
    segmenter = False

    def build(self, classes: int, channels: int) -> nn.Module:
        import timm

        model: nn.Module = timm.create_model(
            self.name, pretrained=False, num_classes=classes, **self.options
        )
        return model


@dataclass(frozen=True)
class OfCallable(Architecture):
    """What a callable returns."""

    module: str
    name: str
    options: Mapping[str, Any]
    segmenter = None
    any_classes = False

    def build(self, classes: int, channels: int) -> nn.Module:
        maker = imported(self.module, self.name, "network")
        _check_options(f"{self.module}:{self.name}", maker, self.options)
        model = maker(**self.options)
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"{self.module}:{self.name} returned a {type(model).__name__}, where a "
                "torch.nn.Module is expected"
            )
        return model


def architecture_of(arch: str) -> Architecture:
    """What a spec means; a `UsageError` that lists near names, or options, otherwise."""
    if not isinstance(arch, str):
        raise UsageError(f"arch is a network's spec such as 'resnet50', found {arch!r}")
    name, _, rest = arch.partition(":")
    if name == "timm":
        return _of_timm(arch, rest)
    theirs, segmenters = of_torchvision()
    ours = name.removeprefix(_FCN) in BLOCKS
    if ours and (rest or name not in theirs | segmenters):
        return OurResNet(name, configured(ResNetOptions, rest, arch))
    if name in theirs | segmenters:
        if rest:
            raise UsageError(f"{printable(repr(arch))}: {name} is torchvision's, without options")
        return OfTorchvision(name, name in segmenters)
    target, _, text = rest.partition(":")
    if target and "=" not in target:
        return OfCallable(name, target, _literals(text, arch))
    raise UsageError(f"unknown network {printable(repr(name))}{near(name, _all_names())}")


@cache
def of_torchvision() -> tuple[frozenset[str], frozenset[str]]:
    """The names of torchvision's classifiers, and of its segmenters."""
    from torchvision import models

    classifiers = models.list_models(module=models)
    return frozenset(classifiers), frozenset(models.list_models(module=models.segmentation))


def _of_timm(arch: str, rest: str) -> OfTimm:
    try:
        import timm
    except ImportError:
        shown = printable(repr(arch))
        raise UsageError(f"{shown} needs ticketkit[timm]: pip install 'ticketkit[timm]'") from None
    name, _, text = rest.partition(":")
    options = _literals(text, arch)
    if decided := [option for option in _DECIDED if option in options]:
        raise UsageError(
            f"{printable(repr(arch))}: {decided[0]} is not to be chosen: the task says how many "
            "classes there are, and weights come from a checkpoint"
        )
    if not timm.is_model(name):
        hint = near(name, timm.list_models())
        raise UsageError(f"unknown network {printable(repr(name))} of timm{hint}")
    return OfTimm(name, options)


def _literals(text: str, arch: str) -> dict[str, Any]:
    return {name: literal(value) for name, value in parsed(text, arch).items()}


def _all_names() -> list[str]:
    """Every network that has a name; timm's where it is installed."""
    theirs, segmenters = of_torchvision()
    ours = {*BLOCKS, *(_FCN + name for name in BLOCKS)}
    try:
        import timm
    except ImportError:
        more: list[str] = []
    else:
        more = [f"timm:{name}" for name in timm.list_models()]
    return sorted(theirs | segmenters | ours) + more


def _check_options(shown: str, maker: Any, options: Mapping[str, Any]) -> None:
    """Refuse options that a callable does not have, where it tells which it has."""
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            choices = f"it has {', '.join(parameters)}" if parameters else "it has none"
            raise UsageError(
                f"{printable(shown)}: no option {printable(name)!r}; {choices}"
                f"{near(name, parameters)}"
            )
