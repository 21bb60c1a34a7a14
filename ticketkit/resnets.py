"""Residual networks of any width, for small and large pictures, under torchvision's module names.

Their weights go from and to torchvision's networks wherever shapes agree: at the default width and
stem all do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

# Of each network the block of torchvision that it is made of, and how many a stage has.
BLOCKS = {
    "resnet10": ("BasicBlock", (1, 1, 1, 1)),
    "resnet18": ("BasicBlock", (2, 2, 2, 2)),
    "resnet34": ("BasicBlock", (3, 4, 6, 3)),
    "resnet50": ("Bottleneck", (3, 4, 6, 3)),
}


@dataclass(frozen=True)
class ResNetOptions:
    """What a spec such as `resnet18:width=16,stem=small` may say."""

    width: int = 64
    """Channels of the first stage; each further one has twice as many."""
    stem: Literal["imagenet", "small"] = "imagenet"
    """`imagenet`: 7x7 convolution of stride 2 and max pooling; `small`: 3x3 of stride 1 alone."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width is 1 or more, found {self.width}")


class ResNet(nn.Module):
    """A residual network (He et al. 2015): pictures (batch, channels, height, width) to logits.

    Without `classes` it has no head, and returns the last stage's features.
    """

    def __init__(
        self,
        name: str,
        options: ResNetOptions,
        channels: int,
        classes: int | None,
        last_stride: int = 2,
    ) -> None:
        from torchvision.models import resnet

        super().__init__()
        kind, counts = BLOCKS[name]
        block, width = getattr(resnet, kind), options.width
        self.out_channels: int = 8 * width * block.expansion
        self.conv1 = _stem(channels, options)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if options.stem == "small" else nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = _stage(block, width, width, counts[0], stride=1)
        self.layer2 = _stage(block, width * block.expansion, 2 * width, counts[1], stride=2)
        self.layer3 = _stage(block, 2 * width * block.expansion, 4 * width, counts[2], stride=2)
        self.layer4 = _stage(block, 4 * width * block.expansion, 8 * width, counts[3], last_stride)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = None if classes is None else nn.Linear(self.out_channels, classes)
        _initialise(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes), or features (batch, channels, height, width)."""
        features: torch.Tensor = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        if self.fc is None:
            return features
        logits: torch.Tensor = self.fc(self.avgpool(features).flatten(1))
        return logits


class FcnResNet(nn.Module):
    """The same network as a segmenter (Long et al. 2015): a class for each pixel.

    Its last stage has no stride, so features are a quarter as wide as the pictures (a sixteenth,
    with the stem of ImageNet). In torchvision's `fcn_resnet50` the last two have none, and are
    dilated, which blocks of two convolutions cannot be.
    """

    def __init__(self, name: str, options: ResNetOptions, channels: int, classes: int) -> None:
        from torchvision.models.segmentation.fcn import FCNHead

        super().__init__()
        self.backbone = ResNet(name, options, channels, None, last_stride=1)
        self.classifier = FCNHead(self.backbone.out_channels, classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes, height, width), in the size of the pictures."""
        logits = self.classifier(self.backbone(pictures))
        size = pictures.shape[-2:]
        return nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)


def _stem(channels: int, options: ResNetOptions) -> nn.Conv2d:
    if options.stem == "small":
        return nn.Conv2d(channels, options.width, 3, padding=1, bias=False)
    return nn.Conv2d(channels, options.width, 7, 2, padding=3, bias=False)


def _stage(block: Any, before: int, planes: int, count: int, stride: int) -> nn.Sequential:
    """Residual blocks, of which the first one changes the size."""
    after = planes * block.expansion
    shortcut = None
    if stride != 1 or before != after:
        shortcut = nn.Sequential(
            nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
        )
    first = block(before, planes, stride, shortcut)
    return nn.Sequential(first, *(block(after, planes) for _ in range(count - 1)))


def _initialise(network: nn.Module) -> None:
    """As torchvision does: the variance of gradients is kept (He et al. 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
