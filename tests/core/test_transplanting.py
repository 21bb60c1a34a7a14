"""Weights and masks of a checkpoint in a live network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ticketkit
from tests import samples
from ticketkit import MismatchError, Ticket, open_checkpoint
from ticketkit.networks import network_of
from ticketkit.transplanting import Loaded, load_into, mask_of, placed

SPEC = "resnet10:width=4,stem=small"
State = dict[str, torch.Tensor]


def made(classes: int = 5, seed: int = 1, spec: str = SPEC) -> nn.Module:
    return network_of(spec, classes, 1, seed)


def copied(model: nn.Module) -> State:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def checkpoint(folder: Path, state: State, form: str = "zip") -> ticketkit.Checkpoint:
    return open_checkpoint(samples.save(state, folder, form))


@pytest.mark.parametrize("form", samples.FORMS)
def test_every_form_of_file_is_loaded_whole(form: str, tmp_path: Path) -> None:
    source, model = made(), made(seed=2)
    loaded = load_into(model, checkpoint(tmp_path, copied(source), form))
    assert loaded == Loaded(len(source.state_dict()))
    assert loaded.notes() == []
    state = source.state_dict()
    assert all(torch.equal(tensor, state[n]) for n, tensor in model.state_dict().items())


def test_wrapped_names_and_shards_are_loaded(tmp_path: Path) -> None:
    source, model = copied(made()), made(seed=2)
    load_into(model, open_checkpoint(samples.save_shards(source, tmp_path)))
    assert all(torch.equal(tensor, source[n]) for n, tensor in model.state_dict().items())
    model = made(seed=2)
    prefixed = {f"module._orig_mod.{name}": tensor for name, tensor in source.items()}
    compiled: Any = torch.compile(model, backend="eager")
    load_into(compiled, checkpoint(tmp_path, prefixed))
    assert all(torch.equal(tensor, source[n]) for n, tensor in model.state_dict().items())


def test_dtypes_stay_those_of_the_network(tmp_path: Path) -> None:
    half = {n: t.half() if t.is_floating_point() else t for n, t in copied(made()).items()}
    model = made(seed=2)
    load_into(model, checkpoint(tmp_path, half))
    assert model.get_parameter("conv1.weight").dtype == torch.float32
    assert torch.equal(model.get_parameter("conv1.weight"), half["conv1.weight"].float())


def test_files_without_counters_are_loaded(tmp_path: Path) -> None:
    state = {n: t for n, t in copied(made()).items() if not n.endswith("num_batches_tracked")}
    loaded = load_into(made(seed=2), checkpoint(tmp_path, state))
    assert loaded.matched == len(state)
    assert all(name.endswith("num_batches_tracked") for name in loaded.fresh)


def test_a_head_of_another_size_is_an_error_that_names_both(tmp_path: Path) -> None:
    source = checkpoint(tmp_path, copied(made(62)))
    model = made(10)
    before = copied(model)
    with pytest.raises(MismatchError, match="its head fc is for 62 classes, the network's for 10"):
        load_into(model, source)
    assert all(torch.equal(tensor, before[n]) for n, tensor in model.state_dict().items())


@pytest.mark.parametrize("classes", [62, 10])
def test_a_head_that_is_skipped_stays_as_it_was_and_is_told(classes: int, tmp_path: Path) -> None:
    model = made(10)
    before = copied(model)
    source = copied(made(classes, seed=2))
    loaded = load_into(model, checkpoint(tmp_path, source), skip_head=True)
    assert loaded.fresh == loaded.unused == ("fc.weight", "fc.bias")
    for name, tensor in model.state_dict().items():
        expected = before if name.startswith("fc.") else source
        assert torch.equal(tensor, expected[name])
    assert "new are: fc.weight, fc.bias" in loaded.notes()[0]
    assert loaded.notes()[1] == "in the checkpoint and not loaded: fc.weight, fc.bias"


def test_a_checkpoint_without_a_head_is_loaded_where_the_head_is_skipped(tmp_path: Path) -> None:
    body = {n: t for n, t in copied(made()).items() if not n.startswith("fc.")}
    source = checkpoint(tmp_path, body)
    assert load_into(made(), source, skip_head=True).unused == ()
    with pytest.raises(MismatchError, match=r"2 are missing.*fc\.weight \(not in the checkpoint"):
        load_into(made(), source)


def test_heads_of_other_names_are_skipped_too(tmp_path: Path) -> None:
    state = {n.replace("fc.", "classifier."): t for n, t in copied(made(62)).items()}
    loaded = load_into(made(), checkpoint(tmp_path, state), skip_head=True)
    assert loaded.unused == ("classifier.weight", "classifier.bias")


def test_no_name_that_matches_is_never_a_success(tmp_path: Path) -> None:
    state = {f"net.{name}": tensor for name, tensor in copied(made()).items()}
    for skip in (False, True):
        with pytest.raises(
            MismatchError, match=r"none of its .* did you mean 'net\.conv1\.weight'"
        ):
            load_into(made(), checkpoint(tmp_path, state), skip_head=skip)


def test_a_larger_network_of_the_same_names_is_not_taken_for_this_one(tmp_path: Path) -> None:
    deep = checkpoint(tmp_path, copied(made(spec="resnet18:width=4,stem=small")))
    with pytest.raises(MismatchError, match=r"layer1\.1\.conv1\.weight \(not in the network\)"):
        load_into(made(), deep)
    shallow = checkpoint(tmp_path, copied(made()))
    with pytest.raises(MismatchError, match=r"not in the checkpoint; did you mean 'layer1\.0"):
        load_into(made(spec="resnet18:width=4,stem=small"), shallow)


def test_names_that_may_be_missing_may_be_so_on_either_side(tmp_path: Path) -> None:
    state = copied(made())
    state["extra.weight"] = torch.ones(2)
    del state["bn1.bias"]
    source = checkpoint(tmp_path, state)
    with pytest.raises(MismatchError, match="1 are missing, and 1 more have no place"):
        load_into(made(), source)
    loaded = load_into(made(), source, allow_missing=["extra.*", "bn1.bias"])
    assert (loaded.fresh, loaded.unused) == (("bn1.bias",), ("extra.weight",))


def test_other_shapes_are_listed_up_to_five(tmp_path: Path) -> None:
    wide = checkpoint(tmp_path, copied(made(spec="resnet10:width=8,stem=small")))
    message = r"have another shape: conv1\.weight: \[8, 1, 3, 3\] in the checkpoint, \[4, 1, 3, 3\]"
    with pytest.raises(MismatchError, match=message + r".* and \d+ more$") as caught:
        load_into(made(), wide, skip_head=True)
    assert caught.value.exit_status == 3
    samples.check_message(caught.value)


@pytest.mark.parametrize("odd", [torch.ones(4, dtype=torch.int8), torch.ones(4, device="meta")])
def test_tensors_without_weights_are_refused(odd: torch.Tensor, tmp_path: Path) -> None:
    source = checkpoint(tmp_path, {**copied(made()), "bn1.bias": odd})
    with pytest.raises(ticketkit.WeightsError, match=r"bn1\.bias: \w+ where a dense tensor"):
        load_into(made(), source)


@pytest.mark.parametrize(
    ("classifier", "segmenter"),
    [
        (SPEC, f"fcn_{SPEC}"),
        ("resnet18", "fcn_resnet18"),
        ("mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"),
        pytest.param("resnet50", "deeplabv3_resnet50", marks=pytest.mark.slow),
    ],
)
def test_a_segmenter_takes_weights_and_mask_of_its_backbones_classifier(
    classifier: str, segmenter: str, tmp_path: Path
) -> None:
    channels = 1 if classifier == SPEC else 3
    state = copied(network_of(classifier, 7, channels, 1))
    source = checkpoint(tmp_path, state, "safetensors")
    model = network_of(segmenter, 4, channels, 2)
    before = copied(model)
    loaded = load_into(model, source, skip_head=True)
    own = model.state_dict()
    backbone = [name for name in own if name.startswith("backbone.")]
    assert loaded.matched == len(backbone)
    assert set(loaded.fresh) == set(own) - set(backbone)
    assert all(name.startswith(("fc.", "classifier.")) for name in loaded.unused)
    for name in loaded.fresh:
        assert torch.equal(own[name], before[name])
    ticket = ticketkit.draw(source, scheme="unstructured", sparsity=0.9)
    mask = mask_of(ticket, model)
    mask.apply_(model)
    ticket.mask.apply_(state)
    places = placed(state, own)
    for name, tensor in state.items():
        if places[name] in own:
            assert torch.equal(own[places[name]], tensor), name
    assert all(name.startswith("backbone.") for name in mask)
    assert mask.kept == ticket.mask.kept - sum(
        ticket.mask.packed(name).kept for name in ticket.mask if places[name] not in own
    )


def test_a_segmenter_without_its_head_is_no_network(tmp_path: Path) -> None:
    source = checkpoint(tmp_path, copied(made()))
    with pytest.raises(MismatchError, match=r"classifier\.0\.weight \(not in the checkpoint"):
        load_into(made(spec=f"fcn_{SPEC}"), source)


def test_a_segmenter_takes_a_segmenters_weights_but_for_the_last_layer(tmp_path: Path) -> None:
    source = checkpoint(tmp_path, copied(made(7, spec=f"fcn_{SPEC}")))
    loaded = load_into(made(4, spec=f"fcn_{SPEC}"), source, skip_head=True)
    assert loaded.fresh == loaded.unused == ("classifier.4.weight", "classifier.4.bias")


def test_a_second_head_of_a_file_has_no_place(tmp_path: Path) -> None:
    import torchvision

    theirs = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4, aux_loss=True
    )
    model = network_of("deeplabv3_mobilenet_v3_large", 4)
    loaded = load_into(model, checkpoint(tmp_path, copied(theirs)))
    assert loaded.fresh == ()
    assert all(name.startswith("aux_classifier.") for name in loaded.unused)
    assert loaded.unused


def drawn(model: nn.Module, **options: Any) -> Ticket:
    return ticketkit.draw(model, scheme="kernel", sparsity=0.5, **options)


def test_a_mask_stays_in_its_place_where_that_is_there() -> None:
    ticket = drawn(made())
    assert mask_of(ticket, made(9)) == ticket.mask
    assert (
        mask_of(drawn(made(spec=f"fcn_{SPEC}")), made(spec=f"fcn_{SPEC}")).size > ticket.mask.size
    )


def test_tied_names_move_along() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3)
            self.two.weight = self.one.weight

    ticket = drawn(Tied())
    larger = nn.ModuleDict({"backbone": Tied(), "classifier": nn.Linear(2, 2)})
    assert ticket.aliases == {"one.weight": ("two.weight",)}
    assert list(mask_of(ticket, larger)) == ["backbone.one.weight", "backbone.two.weight"]


def test_values_of_a_ticket_are_no_hindrance() -> None:
    model = made()
    ticket = drawn(model).with_values(model)
    assert mask_of(ticket, made(spec=f"fcn_{SPEC}")) == ticket.mask.rename("backbone.")


def test_a_mask_of_another_network_is_an_error_with_counts() -> None:
    ticket = drawn(made(spec="resnet18:width=4,stem=small"))
    with pytest.raises(MismatchError, match="of its 20 parameters 8 are missing"):
        mask_of(ticket, made())
    with pytest.raises(MismatchError, match="12 have another shape"):
        mask_of(drawn(made(spec="resnet10:width=8,stem=small")), made(spec=f"fcn_{SPEC}"))
