"""What is pruned, what is spared, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import prune

import ticketkit
from ticketkit.checkpoint import open_checkpoint
from ticketkit.prunable import HEAD, Survey, by_name, find_head, survey
from ticketkit.roles import of_network


def surveyed(network: nn.Module, **globs: Any) -> Survey:
    return survey(of_network(network), **globs)


def meta(architecture: str) -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = torchvision.models.get_model(architecture)
        return network


class Mixed(nn.Module):
    """A layer of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(4, 6, 3)
        self.conv3 = nn.Conv3d(2, 4, 3)
        self.grouped = nn.Conv2d(8, 12, 3, groups=4)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.up = nn.ConvTranspose2d(6, 10, 3, groups=2)
        self.linear = nn.Linear(5, 7)
        self.attention = nn.MultiheadAttention(8, 2)
        self.cross = nn.MultiheadAttention(8, 2, kdim=6, vdim=4)
        self.words = nn.Embedding(11, 5)
        self.bags = nn.EmbeddingBag(11, 5)
        self.memory = nn.LSTM(4, 3)
        self.cell = nn.GRUCell(4, 3)
        self.norm = nn.LayerNorm((3, 4))
        self.table = nn.Parameter(torch.zeros(3, 4))
        self.scale = nn.Parameter(torch.zeros(()))
        self.fc = nn.Linear(7, 3)


def test_convolutions_and_linear_layers_of_every_kind_are_prunable_and_nothing_else() -> None:
    found = surveyed(Mixed())
    assert {name: layer.shape for name, layer in found.layers.items()} == {
        "attention.in_proj_weight": (24, 8),
        "attention.out_proj.weight": (8, 8),
        "conv1.weight": (6, 4, 3),
        "conv3.weight": (4, 2, 3, 3, 3),
        "cross.k_proj_weight": (8, 6),
        "cross.out_proj.weight": (8, 8),
        "cross.q_proj_weight": (8, 8),
        "cross.v_proj_weight": (8, 4),
        "depthwise.weight": (8, 1, 3, 3),
        "grouped.weight": (12, 2, 3, 3),
        "linear.weight": (7, 5),
        "up.weight": (10, 3, 3, 3),
    }
    assert found.layers["up.weight"].own_shape == (6, 5, 3, 3)
    assert found.spared["words.weight"] == "an embedding"
    assert found.spared["memory.weight_ih_l0"] == "a recurrent layer"
    assert found.spared["table"] == "neither a convolution nor a linear layer"
    assert found.spared["fc.weight"] == HEAD
    assert "linear.bias" not in found.spared


@pytest.mark.parametrize(
    ("architecture", "head", "prunable", "parameters"),
    [
        # Constants of METHODS: all convolutions, the first and the downsampling ones included.
        ("resnet18", "fc.weight", 11_166_912, 11_689_512),
        ("resnet50", "fc.weight", 23_454_912, 25_557_032),
        ("mobilenet_v3_small", "classifier.3.weight", 1_501_832, 2_542_856),
        ("vit_b_16", "heads.head.weight", 85_524_480, 86_567_656),
        ("vgg11", "classifier.6.weight", None, None),
        ("squeezenet1_0", "classifier.1.weight", None, None),
        ("densenet121", "classifier.weight", None, None),
        ("convnext_tiny", "classifier.2.weight", None, None),
        ("swin_t", "head.weight", None, None),
        ("googlenet", "fc.weight", None, None),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_head_of_a_torchvision_network_is_spared(
    architecture: str, head: str, prunable: int | None, parameters: int | None
) -> None:
    found = surveyed(meta(architecture))
    assert [name for name, reason in found.spared.items() if reason == HEAD] == [head]
    if prunable is not None:
        assert (found.counts.prunable, found.counts.parameters) == (prunable, parameters)


def test_names_alone_tell_the_same_as_modules_do_for_a_convolutional_network() -> None:
    for architecture in ("resnet50", "mobilenet_v3_small", "vgg11", "densenet121"):
        network = meta(architecture)
        named = survey(by_name(n, tuple(p.shape)) for n, p in network.named_parameters())
        modules = surveyed(network)
        assert named.layers == modules.layers
        assert named.counts == modules.counts


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("layer.weight", (4, 4), None),
        ("attn.in_proj_weight", (12, 4), None),
        ("layer.bias", (4,), "fewer than two dimensions"),
        ("bn.weight", (4,), "fewer than two dimensions"),
        ("pos_embedding", (1, 5, 4), "not named weight"),
        ("rnn.weight_ih_l0", (12, 4), "not named weight"),
        ("word_embeddings.weight", (9, 4), "an embedding, by its name"),
        ("transformer.wte.weight", (9, 4), "an embedding, by its name"),
        ("transformer.wpe.weight", (9, 4), "an embedding, by its name"),
        ("encoder.pos.weight", (9, 4), "an embedding, by its name"),
        ("block.relative_position_bias.weight", (9, 4), "an embedding, by its name"),
        ("patch_embed.proj.weight", (8, 3, 4, 4), None),
        ("composer.weight", (4, 4), None),
        ("post_norm.dense.weight", (4, 4), None),
    ],
)
def test_a_name_and_a_shape_tell_what_a_tensor_is(
    name: str, shape: tuple[int, ...], reason: str | None
) -> None:
    assert by_name(name, shape).reason == reason


@pytest.mark.parametrize(
    ("names", "head"),
    [
        (["a.weight", "fc.weight"], "fc.weight"),
        (["classifier.2.weight", "classifier.10.weight"], "classifier.10.weight"),
        (["heads.0.weight", "heads.1.weight"], "heads.1.weight"),
        (["classifier.0.weight", "fc.weight"], "fc.weight"),
        (["block2.fc.weight", "block10.fc.weight"], "block10.fc.weight"),
        (["model.lm_head.weight", "a.weight"], "model.lm_head.weight"),
        (["aux_classifier.4.weight", "classifier.4.weight"], "classifier.4.weight"),
        (["a.weight", "b.weight"], None),
        (["fc"], None),
    ],
)
def test_the_head_is_found_by_its_name(names: list[str], head: str | None) -> None:
    assert find_head(names) == head


def test_include_and_exclude_change_what_is_pruned_and_exclude_wins() -> None:
    found = surveyed(Mixed(), include=("fc.*", "words.weight"), exclude=("conv*", "fc.bias"))
    assert {"fc.weight", "words.weight"} <= set(found.layers)
    assert "fc.bias" not in found.layers
    assert "conv1.weight" not in found.layers
    assert found.spared["conv1.weight"] == "excluded"


def test_a_glob_that_matches_nothing_is_refused_with_the_near_names() -> None:
    with pytest.raises(ticketkit.UsageError, match=r"no parameter matches 'linaer.weight'.*linear"):
        surveyed(Mixed(), exclude=("linaer.weight",))


def test_nothing_to_prune_is_an_error_that_lists_what_was_spared() -> None:  # fault row 28
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Embedding(4, 2))
    with pytest.raises(ticketkit.InputError, match=r"nothing to prune: spared 1.weight \(an embed"):
        surveyed(network)


class Tied(nn.Module):
    """An embedding tied to its decoder, and two linear layers tied to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.decoder = nn.Linear(4, 6, bias=False)
        self.decoder.weight = self.embed.weight
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight


def test_tied_weights_count_once_and_both_names_are_recorded() -> None:  # fault row 31
    found = surveyed(Tied())
    assert found.counts.prunable == 16
    assert found.counts.parameters == 16 + 24
    assert found.aliases == {"first.weight": ("second.weight",)}
    assert found.spared == {"decoder.weight": "tied to an embedding"}


def test_an_included_tied_embedding_is_masked_once_under_both_names() -> None:
    found = surveyed(Tied(), include=("embed.weight",))
    assert found.aliases["decoder.weight"] == ("embed.weight",)
    network = Tied()
    mask = ticketkit.draw(
        network, scheme="unstructured", sparsity=0.5, include=["embed.weight"]
    ).mask
    mask.apply_(network)
    zeros = sum(int((p == 0).sum()) for p in network.parameters())
    assert zeros == mask.size - mask.kept == 20


def test_empty_layers_are_skipped() -> None:  # fault row 27
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(3, 3))
    network[0].weight = nn.Parameter(torch.empty(0, 3))
    found = surveyed(network)
    assert list(found.layers) == ["1.weight"]
    assert found.spared["0.weight"] == "it has no elements"


def pruned(layer: nn.Module) -> None:
    """Give a layer a mask of torch.nn.utils.prune."""
    prune.l1_unstructured(layer, "weight", 0.5)  # type: ignore[no-untyped-call]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    ("change", "names", "call"),
    [
        (pruned, ["0.weight_orig"], "prune.remove .'ticketkit import' reads such masks"),
        (nn.utils.weight_norm, ["0.weight_g", "0.weight_v"], "remove_weight_norm"),
        (nn.utils.spectral_norm, ["0.weight_orig"], "remove_spectral_norm"),
        (
            nn.utils.parametrizations.weight_norm,
            [f"0.parametrizations.weight.original{i}" for i in (0, 1)],
            "parametrize.remove_parametrizations",
        ),
        (
            nn.utils.parametrizations.orthogonal,
            ["0.parametrizations.weight.original"],
            "parametrize.remove_parametrizations",
        ),
    ],
)
def test_weights_computed_from_others_are_refused_in_a_file_as_in_a_network_unless_excluded(
    change: Callable[[nn.Module], object], names: list[str], call: str, tmp_path: Path
) -> None:  # fault row 36
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 6))
    change(network[0])
    torch.save(network.state_dict(), tmp_path / "w.pt")
    for tensors in (of_network(network), open_checkpoint(tmp_path / "w.pt").tensors()):
        with pytest.raises(
            ticketkit.InputError, match=f"{', '.join(names)} .undo that by .*{call}"
        ):
            survey(tensors)
        with pytest.raises(ticketkit.InputError, match="weights are computed from"):
            survey(tensors, exclude=names[1:])
        assert list(survey(tensors, exclude=names).layers) == ["1.weight"]


def test_a_layer_that_a_scheme_cannot_cut_is_spared_for_its_reason() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.ConvTranspose2d(4, 6, 3, groups=2))
    seen = []

    def spares(shape: tuple[int, ...]) -> str | None:
        seen.append(shape)
        return "of two dimensions" if len(shape) == 2 else None

    found = surveyed(network, spares=spares)
    assert seen == [(3, 3), (6, 2, 3, 3)]  # presented ones
    assert list(found.layers) == ["1.weight"]
    assert found.spared == {"0.weight": "of two dimensions"}
    assert found.counts.prunable == 108
    with pytest.raises(ticketkit.InputError, match=r"nothing to prune: spared 0.weight \(all"):
        surveyed(network, spares=lambda shape: "all of them")  # fault row 28


def test_scores_that_choose_among_weights_are_refused(tmp_path: Path) -> None:  # fault row 36
    weights = {
        "a.weight": torch.ones(2, 3),
        "a.scores": torch.ones(2, 3),
        "b.weight": torch.ones(4, 4),
    }
    torch.save(weights, tmp_path / "w.pt")
    tensors = open_checkpoint(tmp_path / "w.pt").tensors()
    with pytest.raises(ticketkit.InputError, match=r"computed from a\.scores .*ticketkit import"):
        survey(tensors)
    assert set(survey(tensors, exclude=["a.scores"]).layers) == {"a.weight", "b.weight"}
