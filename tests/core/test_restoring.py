"""Weights from a ticket that carries them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.samples import FORMS, leftovers, load, names, save, state
from ticketkit import Mask, MismatchError, Ticket, UsageError, draw, load_ticket, open_checkpoint
from ticketkit.applying import apply
from ticketkit.files import reserve
from ticketkit.prunable import Counts
from ticketkit.restoring import write_alone
from ticketkit.ticket import Provenance


@pytest.fixture
def carrying(tmp_path: Path) -> Path:
    """A ticket of the sample weights that carries their values."""
    checkpoint = open_checkpoint(save(state(), tmp_path, "safetensors", "source"))
    made = draw(checkpoint, scheme="row", sparsity=0.5).with_values(checkpoint)
    made.save(tmp_path / "t.ticket.safetensors", encoding="rice")
    return tmp_path / "t.ticket.safetensors"


def expected(carrying: Path) -> dict[str, torch.Tensor]:
    return {name: state()[name] * keep for name, keep in load_ticket(carrying).mask.items()}


@pytest.mark.parametrize("form", FORMS)
def test_other_weights_give_way_to_the_tickets_values(
    form: str, carrying: Path, tmp_path: Path
) -> None:
    source = save(state(1), tmp_path, form, "other")
    before = source.read_bytes()
    output = tmp_path / f"x{source.suffix}"
    with pytest.raises(MismatchError, match="these are other weights"):
        apply(carrying, source, output)
    apply(carrying, source, output, verify=False)
    assert source.read_bytes() == before
    mask = load_ticket(carrying).mask
    for name, tensor in load(output).items():
        theirs = state()[name] * mask[name] if name in mask else state(1)[name]
        assert tensor.equal(theirs), name


def test_a_ticket_without_values_masks_what_is_there(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save(state(), tmp_path, "safetensors"))
    made = draw(checkpoint, scheme="row", sparsity=0.5)
    made.save(tmp_path / "t.safetensors")
    source = save(state(1), tmp_path, "safetensors", "other")
    apply(tmp_path / "t.safetensors", source, tmp_path / "x.safetensors", verify=False)
    written = load(tmp_path / "x.safetensors")["stem.weight"]
    assert written.equal(state(1)["stem.weight"] * made.mask["stem.weight"])


@pytest.mark.parametrize("form", FORMS)
def test_a_strided_tensor_gets_its_values_too(form: str, tmp_path: Path) -> None:
    turned = {"w.weight": torch.randn(6, 5).t()}
    if form == "safetensors":
        turned = {"w.weight": turned["w.weight"].contiguous()}
    path = save(turned, tmp_path, form)
    made = draw(open_checkpoint(path), scheme="unstructured", sparsity=0.5)
    other = {"w.weight": torch.randn(5, 6)}
    made.with_values(other).save(tmp_path / "t.safetensors")
    target = path.with_name(f"out{path.suffix}")
    apply(tmp_path / "t.safetensors", path, target, verify=False)
    written = open_checkpoint(target)["w.weight"]
    assert written.equal(other["w.weight"] * made.mask["w.weight"])
    assert written.stride() == open_checkpoint(path)["w.weight"].stride()


def test_values_of_another_dtype_are_refused(carrying: Path, tmp_path: Path) -> None:
    narrow = {n: t.half() if t.is_floating_point() else t for n, t in state().items()}
    source = save(narrow, tmp_path, "zip", "narrow")
    with pytest.raises(MismatchError, match="values of dtype F32 in the ticket, of F16 in the"):
        apply(carrying, source, tmp_path / "x.pt", verify=False)
    assert "x.pt" not in names(tmp_path)


# --- without a checkpoint


def test_the_masked_parameters_make_a_file_of_their_own(carrying: Path, tmp_path: Path) -> None:
    document = apply(carrying, None, tmp_path / "x.safetensors")
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == expected(carrying).keys()
    assert all(found[name].equal(tensor) for name, tensor in expected(carrying).items())
    assert document["input"] is None
    assert document["notes"][0].startswith("it holds the masked parameters alone: biases")


def test_every_dtype_is_written_under_every_name(tmp_path: Path) -> None:
    weights = {
        "byte": torch.randn(3).to(torch.float8_e4m3fn),
        "complex": torch.randn(3, dtype=torch.complex64),
        "half": torch.randn(3).bfloat16(),
        "none": torch.empty(2, 0),
        "wide": torch.tensor([-0.0, float("nan"), 2.0], dtype=torch.float64),
    }
    keeps = {n: np.arange(t.numel()).reshape(t.shape) != 2 for n, t in weights.items()}
    mask = Mask(keeps)
    provenance = Provenance("s", "c", "global", "omp", 0.5, 0)
    made = Ticket(mask, provenance, Counts(14, 14, 14), {"half": ("tied",)}).with_values(weights)
    with reserve(tmp_path / "x.safetensors") as output:
        write_alone(made, output)
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == {*weights, "tied"}
    for name, tensor in made.state_dict().items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        bits = [t.reshape(-1).view(torch.uint8) for t in (found[name], tensor)]
        assert bits[0].equal(bits[1])
    assert open_checkpoint(tmp_path / "x.safetensors").keys() == found.keys()
    assert leftovers(tmp_path) == []


def test_what_cannot_be_is_told_and_nothing_is_written(carrying: Path, tmp_path: Path) -> None:
    replace(load_ticket(carrying), values={}).save(tmp_path / "bare.safetensors")
    there = names(tmp_path)
    with pytest.raises(UsageError, match=r"carries no values .prune --with-values"):
        apply(tmp_path / "bare.safetensors", None, tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match=r"the suffix \.safetensors, found 'x\.pt'"):
        apply(carrying, None, tmp_path / "x.pt")
    with pytest.raises(UsageError, match="would replace the ticket"):
        apply(carrying, None, carrying, force=True)
    with pytest.raises(UsageError, match="already there"):
        apply(carrying, None, tmp_path / "bare.safetensors")
    assert names(tmp_path) == there
    apply(carrying, None, tmp_path / "bare.safetensors", force=True)
    assert load_file(tmp_path / "bare.safetensors").keys() == expected(carrying).keys()
