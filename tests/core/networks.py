"""Small networks and data for tests of training."""

from __future__ import annotations

import torch
from torch import nn

import ticketkit


def network(seed: int = 0, classes: int = 3) -> nn.Sequential:
    """A convolution, BatchNorm, dropout and a head; 1 x 6 x 6 pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(32, classes),
        )


class Named(nn.Module):
    """The same with a head that has the name of one."""

    def __init__(self, seed: int = 0, classes: int = 3) -> None:
        super().__init__()
        *body, head = network(seed, classes)
        self.body = nn.Sequential(*body)
        self.fc = head

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.body(pictures))
        return found


def pictures(count: int = 50, classes: int = 3, seed: int = 0, side: int = 6) -> ticketkit.Pictures:
    """Noise whose brightness tells the class."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (count,), generator=generator)
    noise = torch.randint(80, (count, 1, side, side), generator=generator)
    images = noise + (170 // classes) * targets[:, None, None, None]
    return ticketkit.Pictures(images.to(torch.uint8), targets)


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same weights and statistics, bit by bit."""
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(
        a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
        for a, b in zip(ours.values(), theirs.values(), strict=True)
    )


class Mixed(nn.Module):
    """Convolutions of several kinds, a linear layer and a head; 4 x 6 x 6 pictures."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first = nn.Conv2d(4, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.grouped = nn.Conv2d(6, 8, 2, groups=2)
            self.wider = nn.ConvTranspose2d(8, 12, 2, stride=2, groups=2)
            self.linear = nn.Linear(48, 16)
            self.fc = nn.Linear(16, 3)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found = self.norm(self.first(pictures)).relu()
        found = self.wider(self.grouped(found).relu()).relu()
        pooled = nn.functional.adaptive_avg_pool2d(found, 2).flatten(1)
        scores: torch.Tensor = self.fc(self.linear(pooled).relu())
        return scores
