"""The loss that training and attacks share."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy as theirs

from ticketkit.losses import cross_entropies, cross_entropy


def outputs(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_classes_have_torchs_cross_entropy() -> None:
    found, targets = outputs(7, 300), torch.arange(7) + 250  # class 255 counts like any other
    assert torch.equal(cross_entropy(found, targets), theirs(found, targets))
    assert torch.allclose(cross_entropies(found, targets).mean(), theirs(found, targets))


def test_probabilities_are_targets_too() -> None:
    found, targets = outputs(7, 5), outputs(7, 5).softmax(1)
    assert torch.equal(cross_entropy(found, targets), theirs(found, targets))
    assert torch.allclose(cross_entropies(found, targets).mean(), theirs(found, targets))


def test_pixels_of_class_255_are_ignored() -> None:
    found = outputs(2, 4, 3, 3)
    targets = torch.arange(18).reshape(2, 3, 3) % 4
    targets[0, 1:] = 255
    expected = theirs(found, targets, ignore_index=255)
    assert torch.allclose(cross_entropy(found, targets.to(torch.uint8)), expected)
    one = theirs(found[:1], targets[:1], ignore_index=255)
    assert torch.allclose(cross_entropies(found, targets)[0], one)


def test_a_batch_of_ignored_pixels_has_no_loss() -> None:
    found = outputs(1, 4, 3, 3).requires_grad_()
    loss = cross_entropy(found, torch.full((1, 3, 3), 255))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0
    assert found.grad is not None
    assert not found.grad.any()
