"""Whether a pruned checkpoint still honours its ticket."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.samples import FORMS, load, save, state
from ticketkit import MismatchError, TicketError, WeightsError, draw, load_ticket
from ticketkit.checkpoint import open_checkpoint
from ticketkit.pruning import prune
from ticketkit.request import Request
from ticketkit.verification import verify


@pytest.fixture(params=FORMS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A ticket and the checkpoint that was pruned with it."""
    source = save(state(), tmp_path, request.param)
    pruned, ticket = tmp_path / f"pruned{source.suffix}", tmp_path / "ticket.safetensors"
    prune(Request(source, pruned, ticket, 0.5))
    return ticket, pruned


def changed(pruned: Path, name: str, tensor: torch.Tensor) -> None:
    """Give the pruned checkpoint another tensor."""
    form = open_checkpoint(pruned).form
    save({**load(pruned), name: tensor}, pruned.parent, form, pruned.stem)


def test_what_prune_wrote_honours_its_ticket(pair: tuple[Path, Path]) -> None:
    ticket, pruned = pair
    document = verify(ticket, pruned)
    removed = load_ticket(ticket).removed
    assert document["schema"] == "ticketkit.verify/1"
    assert document["ok"] is True
    assert document["counts"] == {"kept": 164, "removed": removed}
    assert document["checkpoint"]["revived"] == 0
    assert document["checkpoint"]["revived_layers"] == {}
    assert document["checkpoint"]["form"] == open_checkpoint(pruned).description


def test_a_ticket_alone_can_be_verified(pair: tuple[Path, Path]) -> None:
    document = verify(pair[0])
    assert document["ok"] is True
    assert document["checkpoint"] is None


def test_revived_weights_are_counted_by_layer(pair: tuple[Path, Path]) -> None:
    # fault row 42
    ticket, pruned = pair
    mask = load_ticket(ticket).mask
    weight = load(pruned)["stem.weight"].clone()
    revived = (~mask["stem.weight"]).nonzero()[:3]
    for at, value in zip(revived.tolist(), [1e-45, float("nan"), -1.0], strict=True):
        weight[tuple(at)] = value
    changed(pruned, "stem.weight", weight)
    document = verify(ticket, pruned)
    assert document["ok"] is False
    assert document["checkpoint"]["revived"] == 3
    assert document["checkpoint"]["revived_layers"] == {"stem.weight": 3}


def test_minus_zero_is_zero_and_kept_weights_may_be_anything(pair: tuple[Path, Path]) -> None:
    # fault row 25
    ticket, pruned = pair
    mask = load_ticket(ticket).mask
    changed(pruned, "stem.weight", torch.where(mask["stem.weight"], float("inf"), -0.0))
    assert verify(ticket, pruned)["ok"] is True


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float64", "float8_e5m2", "complex64", "complex128"]
)
def test_zeros_are_zeros_in_every_dtype(dtype: str, tmp_path: Path) -> None:
    # fault row 29
    kind = getattr(torch, dtype)
    weight = (torch.rand(4, 6) + 0.5).to(kind)
    minus = torch.tensor([-0.0]).to(kind)
    if kind.is_complex:
        minus = torch.complex(minus.real, -torch.zeros_like(minus.real))
    source = save({"a.weight": weight}, tmp_path, "zip")
    ticket = draw(open_checkpoint(source), scheme="unstructured", sparsity=0.5)
    ticket.save(tmp_path / "ticket.safetensors")
    for number, expected in ((minus, 0), (weight[0, :1], 12)):
        wrong = weight.clone()
        of_each = wrong.view(torch.uint8).reshape(4, 6, -1)
        of_each[~ticket.mask["a.weight"]] = number.view(torch.uint8)
        save({"a.weight": wrong}, tmp_path, "zip")
        found = verify(tmp_path / "ticket.safetensors", source)
        assert found["checkpoint"]["revived"] == expected


def test_a_ticket_that_removes_nothing_is_honoured_by_anything(tmp_path: Path) -> None:
    # fault row 18
    source = save(state(), tmp_path, "safetensors")
    with pytest.warns(UserWarning, match="keeps every weight"):
        ticket = draw(open_checkpoint(source), scheme="unstructured", sparsity=0)
    ticket.save(tmp_path / "ticket.safetensors")
    assert verify(tmp_path / "ticket.safetensors", source)["ok"] is True


def test_a_tied_weight_is_checked_under_each_of_its_names(tmp_path: Path) -> None:
    # fault row 31
    tied = torch.randn(4, 4)
    source = save({"a.weight": tied, "b.weight": tied}, tmp_path, "zip")
    prune(Request(source, tmp_path / "pruned.pt", tmp_path / "ticket.safetensors", 0.5))
    weights = load(tmp_path / "pruned.pt")
    save({**weights, "b.weight": tied.clone()}, tmp_path, "zip", "pruned")
    document = verify(tmp_path / "ticket.safetensors", tmp_path / "pruned.pt")
    assert document["checkpoint"]["revived_layers"] == {"b.weight": 8}


def test_another_entry_can_be_verified(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "zip")
    prune(Request(source, tmp_path / "pruned.pt", tmp_path / "ticket.safetensors", 0.5))
    both = {"model": load(tmp_path / "pruned.pt"), "ema": state()}
    torch.save(both, tmp_path / "both.pt")
    ticket = tmp_path / "ticket.safetensors"
    assert verify(ticket, tmp_path / "both.pt")["ok"] is True
    assert verify(ticket, tmp_path / "both.pt", "ema")["ok"] is False


def test_what_does_not_fit_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    # fault row 12
    other = save({"stem.weight": torch.ones(2, 2)}, tmp_path, "zip", "other")
    with pytest.raises(MismatchError, match="of its 3 parameters 2 are missing and 1 have"):
        verify(pair[0], other)
    with pytest.raises(TicketError, match="not a ticket"):
        verify(pair[1], pair[0])


def test_tensors_without_values_are_refused(tmp_path: Path) -> None:
    # fault row 32
    source = save({"a.weight": torch.randn(4, 4)}, tmp_path, "zip")
    prune(Request(source, None, tmp_path / "ticket.safetensors", 0.5))
    save({"a.weight": torch.ones(4, 4, device="meta")}, tmp_path, "zip")
    with pytest.raises(WeightsError, match="a meta tensor has no plain values to read"):
        verify(tmp_path / "ticket.safetensors", source)
