"""Group F: what certification costs, against forward passes over as many pictures."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import torch
from torch import nn

import ticketkit
from tests.benchmarks.measure import Line, Peer, Result, in_turn, ratio
from tests.benchmarks.networks import Scale, build

SIGMA = 0.25
BATCHES = (16, 32, 64)
"""Of the bare forward pass; on one core the fastest is among them."""
PEER_BATCH = 500
"""Of the paper's code, as its scripts call it."""


def throughput_rows(scale: Scale) -> Iterator[Result]:
    """F1: certified pictures a second, against those of a bare forward pass at its best batch."""
    network = build(scale.trained).eval()
    count = 2 * scale.batch[0]
    picture = torch.rand(scale.batch[1:], generator=torch.Generator().manual_seed(0))
    noisy = picture + SIGMA * torch.randn(count, *picture.shape)
    smoothed = ticketkit.Smoothed(network, SIGMA)
    smoothed.certify(picture, n=20 * count)  # which tells it the size of batches
    ours, *bare = in_turn(
        scale.runs,
        lambda: smoothed.certify(picture, n0=count // 4, n=count - count // 4),
        *(lambda size=size: _forward(network, noisy, size) for size in BATCHES),
    )
    floor = min(bare, key=median)
    what = f"certified samples / forward passes, {scale.trained}"
    mine, best = (1e3 * median(times) / count for times in (ours, floor))
    yield Line("F1", what, mine, best, "ms", ratio(floor, ours), 0.97, at_least=True)

    size = BATCHES[bare.index(floor)]
    more = noisy.repeat(-(-PEER_BATCH // count), 1, 1, 1)[:PEER_BATCH]
    theirs, floor = in_turn(
        min(2, scale.runs),
        lambda: _in_a_fixed_batch(network, picture, PEER_BATCH),
        lambda: _forward(network, more, size),
    )
    what = f"noise and forward pass at batch {PEER_BATCH}"
    yield Peer("F1", what, ratio(floor, theirs), 1e3 * median(theirs) / PEER_BATCH, "ms")


@torch.no_grad()
def _forward(network: nn.Module, pictures: torch.Tensor, batch: int) -> None:
    for first in range(0, len(pictures), batch):
        network(pictures[first : first + batch])


@torch.no_grad()
def _in_a_fixed_batch(network: nn.Module, picture: torch.Tensor, count: int) -> torch.Tensor:
    """Votes as one counts them at first: repeat the picture, add noise, in large batches."""
    votes = torch.zeros(10, dtype=torch.int64)
    while count:
        size = min(count, PEER_BATCH)
        repeated = picture.repeat(size, 1, 1, 1)
        noisy = repeated + SIGMA * torch.randn_like(repeated)
        votes += network(noisy).argmax(1).bincount(minlength=10)
        count -= size
    return votes
