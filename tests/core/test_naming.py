"""What the keys of a file mean."""

from __future__ import annotations

import functools
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import FORMS, load, save, save_shards, state
from ticketkit import CheckpointError, draw, load_ticket, open_checkpoint
from ticketkit.naming import Naming, common_prefix
from ticketkit.pruning import prune
from ticketkit.request import Request

WRAPPERS = ["module.", "_orig_mod.", "_fsdp_wrapped_module."]
NAMES = ["conv.weight", "layer.0.bias", "modules.weight", "module"]


def test_keys_of_a_bare_network_are_its_names() -> None:
    naming = Naming.of(NAMES)
    assert naming.keys == {name: (name,) for name in NAMES}
    assert (naming.prefix, naming.beside, naming.copies) == ("", (), 0)


@given(st.lists(st.sampled_from(WRAPPERS), max_size=4))
def test_wrappers_are_stripped_in_whatever_order_they_come(wrappers: list[str]) -> None:
    prefix = "".join(wrappers)
    naming = Naming.of([prefix + name for name in NAMES])
    assert naming.prefix == prefix
    assert naming.keys == {name: (prefix + name,) for name in NAMES}
    assert naming.names == {prefix + name: name for name in NAMES}


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        (["module.a", "module.b.c"], "module."),
        (["_orig_mod.module.a", "_orig_mod.module.b"], "_orig_mod.module."),
        (["module.module.a", "module.module.b"], "module.module."),
        (["module.module.a", "module.b"], "module."),
        (["module.a", "b"], ""),
        (["modules.a"], ""),
        (["module."], ""),
        (["module.module."], "module."),
        ([], ""),
    ],
)
def test_the_prefix_that_all_names_share(keys: list[str], prefix: str) -> None:
    assert common_prefix(keys) == prefix


ROBUST = [
    "normalizer.new_mean",
    "normalizer.new_std",
    "model.conv.weight",
    "model.fc.weight",
    "attacker.normalize.new_mean",
    "attacker.normalize.new_std",
    "attacker.model.conv.weight",
    "attacker.model.fc.weight",
]


def test_files_of_the_robustness_library_hold_one_network_twice() -> None:
    for prefix in ("", "module."):
        naming = Naming.of([prefix + key for key in ROBUST])
        assert naming.prefix == f"{prefix}model."
        assert naming.keys == {
            name: (f"{prefix}model.{name}", f"{prefix}attacker.model.{name}")
            for name in ("conv.weight", "fc.weight")
        }
        assert naming.beside == tuple(f"{prefix}{key}" for key in ROBUST if "normalize" in key)
        assert naming.normalisation == {
            "mean": f"{prefix}normalizer.new_mean",
            "std": f"{prefix}normalizer.new_std",
        }
        assert naming.copies == 2


def test_a_network_of_torchvision_is_wrapped_once_more_in_such_a_file() -> None:
    """As DataParallel(AttackerModel(Wrapper(network))) names its tensors."""
    normaliser = {f"module.normalizer.new_{what}" for what in ("mean", "std")}
    keys = {"conv.weight": ("module.model.model.conv.weight",)}
    copied = {n: (*k, f"module.attacker.model.model.{n}") for n, k in keys.items()}
    for each in (keys, copied):
        naming = Naming.of([*each["conv.weight"], *normaliser])
        assert naming.prefix == "module.model.model."
        assert naming.keys == each
        assert set(naming.normalisation) == {"mean", "std"}


def test_half_a_normaliser_is_none() -> None:
    naming = Naming.of([key for key in ROBUST if key != "normalizer.new_std"])
    assert naming.normalisation == {}
    assert "normalizer.new_mean" in naming.beside


def test_a_network_that_is_called_model_is_no_file_of_robustness() -> None:
    naming = Naming.of(["model.conv.weight", "model.fc.weight"])
    assert set(naming.keys) == {"model.conv.weight", "model.fc.weight"}
    naming = Naming.of([*ROBUST, "ema.conv.weight"])
    assert set(naming.keys) == {*ROBUST, "ema.conv.weight"}


# --- fault row 14: what wraps a network, and the files of robustness


@pytest.mark.parametrize("form", [*FORMS, "sharded"])
@pytest.mark.parametrize("prefix", [*WRAPPERS, "module._orig_mod."])
def test_a_prefix_is_stripped_and_put_back(prefix: str, form: str, tmp_path: Path) -> None:
    weights = {prefix + name: tensor for name, tensor in state().items()}
    write = save_shards if form == "sharded" else functools.partial(save, form=form)
    path = write(weights, tmp_path)
    pruned = tmp_path / f"p{path.suffix}"
    document = prune(Request(path, pruned, tmp_path / "t.safetensors", 0.5))
    assert document["notes"][-2] == f"{prefix!r} was stripped from every name; files keep it"
    ticket = load_ticket(tmp_path / "t.safetensors")
    (tmp_path / "bare").mkdir()
    bare = open_checkpoint(save(state(), tmp_path / "bare", "zip"))
    assert ticket.encoded() == draw(bare, scheme="unstructured", sparsity=0.5).encoded()
    written = load(pruned)
    assert list(written) == list(load(path))
    for name, tensor in state().items():
        expected = tensor * ticket.mask[name] if name in ticket.mask else tensor
        assert written[prefix + name].equal(expected)


def test_a_prefix_that_some_keys_lack_is_a_part_of_their_names(tmp_path: Path) -> None:
    weights = {f"module.{name}": tensor for name, tensor in state().items()}
    weights["scale.weight"] = torch.ones(2)
    assert set(open_checkpoint(save(weights, tmp_path, "zip"))) == set(weights)


class InputNormalize(torch.nn.Module):
    """As the robustness library's: the names of its buffers are what counts."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("new_mean", torch.tensor([0.4, 0.5, 0.6])[..., None, None])
        self.register_buffer("new_std", torch.tensor([0.25, 0.25, 0.3])[..., None, None])


class Attacker(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.normalize = InputNormalize()
        self.model = model


class AttackerModel(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.normalizer = InputNormalize()
        self.model = model
        self.attacker = Attacker(model)


def robust(folder: Path, *, parallel: bool, shared: bool = True) -> tuple[Path, torch.nn.Module]:
    """A checkpoint as the robustness library saves it; and the network in it."""
    torch.manual_seed(0)
    layers = {"conv": torch.nn.Conv2d(3, 8, 3), "bn": torch.nn.BatchNorm2d(8)}
    network = torch.nn.ModuleDict({**layers, "fc": torch.nn.Linear(8, 5)})
    whole: torch.nn.Module = AttackerModel(network)
    if parallel:
        whole = torch.nn.DataParallel(whole)
    weights = whole.state_dict()
    if not shared:
        weights = OrderedDict((key, tensor.clone()) for key, tensor in weights.items())
    optimizer = torch.optim.SGD(whole.parameters(), 0.1).state_dict()
    path = folder / "robust.pt"
    torch.save({"model": weights, "optimizer": optimizer, "epoch": 90}, path)
    return path, network


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("parallel", [True, False])
def test_a_file_of_robustness_is_its_network(parallel: bool, shared: bool, tmp_path: Path) -> None:
    path, network = robust(tmp_path, parallel=parallel, shared=shared)
    checkpoint = open_checkpoint(path)
    assert list(checkpoint) == list(network.state_dict())
    found = checkpoint.normalisation()
    assert found == {
        "mean": pytest.approx([0.4, 0.5, 0.6]),
        "std": pytest.approx([0.25, 0.25, 0.3]),
    }
    document = prune(Request(path, tmp_path / "p.pt", tmp_path / "t.safetensors", 0.5))
    prefix = "module." if parallel else ""
    assert document["notes"][:-1] == [
        f"'{prefix}model.' was stripped from every name; files keep it",
        "9 tensors are in the file twice; both copies are masked alike",
        "the network's inputs, in [0, 1], are normalised by the file's own mean (0.4, 0.5, 0.6), "
        "std (0.25, 0.25, 0.3)",
    ]
    ticket = load_ticket(tmp_path / "t.safetensors")
    drawn = draw(network, scheme="unstructured", sparsity=0.5, digest=True)
    assert ticket.mask == drawn.mask
    assert ticket.provenance.source == drawn.provenance.source
    assert ticket.provenance.normalisation == found
    before, after = load(path), load(tmp_path / "p.pt")
    assert list(after) == list(before)
    for key, tensor in after.items():
        name = key.removeprefix(prefix).removeprefix("attacker.").removeprefix("model.")
        assert tensor.equal(before[key] * ticket.mask.get(name, 1))


def test_a_file_of_robustness_converts_without_its_copies_and_means_the_same(
    tmp_path: Path,
) -> None:
    path, _ = robust(tmp_path, parallel=True)
    output = tmp_path / "p.safetensors"
    document = prune(Request(path, output, tmp_path / "t.safetensors", 0))
    left = next(note for note in document["notes"] if note.startswith("left behind"))
    assert "module.attacker.model.conv.weight" in left
    assert "optimizer" in left
    converted = open_checkpoint(output)
    assert converted.digest() == open_checkpoint(path).digest()
    assert converted.normalisation() == open_checkpoint(path).normalisation()


def test_copies_of_two_shapes_are_refused(tmp_path: Path) -> None:
    path, _ = robust(tmp_path, parallel=False)
    whole = torch.load(path, weights_only=True)
    whole["model"]["attacker.model.fc.weight"] = torch.ones(2, 2)
    torch.save(whole, path)
    with pytest.raises(CheckpointError, match=r"held twice, in two shapes: fc\.weight"):
        open_checkpoint(path)
