"""From a file to a pruned one and its ticket, and from a ticket to a pruned file."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.samples import (
    FORMS,
    PRUNABLE,
    file_size_limit,
    leftovers,
    load,
    names,
    request,
    save,
    state,
)
from ticketkit import (
    InputError,
    OutputError,
    UsageError,
    WeightsError,
    files,
    load_ticket,
    pruning,
)
from ticketkit.applying import apply
from ticketkit.checkpoint import open_checkpoint
from ticketkit.files import reserve
from ticketkit.pruning import SPEED, prune


def form_suffix(form: str) -> str:
    return ".safetensors" if form == "safetensors" else ".pt"


@pytest.mark.parametrize("form", FORMS)
def test_both_outputs_are_written_and_told(form: str, tmp_path: Path) -> None:
    source = save(state(), tmp_path, form)
    before = source.read_bytes()
    document = prune(request(source))
    ticket = load_ticket(tmp_path / "ticket.safetensors")
    written = load(tmp_path / f"pruned{form_suffix(form)}")
    for name, tensor in state().items():
        expected = tensor * ticket.mask[name] if name in ticket.mask else tensor
        assert written[name].equal(expected)
    assert source.read_bytes() == before
    assert names(tmp_path) == sorted([source.name, f"pruned{source.suffix}", "ticket.safetensors"])
    assert document["schema"] == "ticketkit.prune/1"
    assert document["input"]["path"] == str(source)
    assert document["input"]["tensors"] == len(state())
    assert document["output"] == str(tmp_path / f"pruned{source.suffix}")
    assert document["counts"]["removed"] == ticket.removed == 164
    assert document["sparsity"] == {"requested": 0.5, "reached": ticket.reached()}
    assert [layer["name"] for layer in document["layers"]] == PRUNABLE
    assert {entry["name"] for entry in document["spared"]} == {"embedding.weight", "fc.weight"}
    assert document["notes"] == [SPEED]


def test_the_ticket_does_not_depend_on_the_form_of_the_file(tmp_path: Path) -> None:
    tickets = set()
    for form in FORMS:
        prune(request(save(state(), tmp_path, form), output=None, force=True))
        tickets.add((tmp_path / "ticket.safetensors").read_bytes())
    assert len(tickets) == 1


def test_the_ticket_alone_can_be_written(tmp_path: Path) -> None:
    document = prune(request(save(state(), tmp_path, "safetensors"), output=None))
    assert document["output"] is None
    assert names(tmp_path) == ["model.safetensors", "ticket.safetensors"]


def test_the_draw_follows_the_request(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    options: dict[str, Any] = {
        "scheme": "channel",
        "criterion": "random",
        "allocation": "uniform",
        "seed": 5,
        "include": ("fc.w*",),
        "exclude": ("stem.*",),
        "sparsity": 0.25,
    }
    prune(request(source, **options))
    found = load_ticket(tmp_path / "ticket.safetensors")
    assert set(found.mask) == {*PRUNABLE, "fc.weight"} - {"stem.weight"}
    for name in ("scheme", "criterion", "allocation", "seed", "include", "exclude", "sparsity"):
        assert getattr(found.provenance, name) == options[name]


def test_what_a_conversion_leaves_behind_is_told(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "wrapped-zip")
    document = prune(request(source, output=tmp_path / "pruned.safetensors"))
    note = "left behind in the conversion to safetensors: epoch, optimizer, best"
    assert document["notes"] == [note, SPEED]
    assert set(load(tmp_path / "pruned.safetensors")) == set(state())


def test_weights_that_were_zero_already_are_told(tmp_path: Path) -> None:
    # fault row 23
    weights = state()
    weights["block.weight"].zero_()
    weights["stem.weight"][0] = -0.0
    document = prune(request(save(weights, tmp_path, "zip"), sparsity=0.1))
    assert document["notes"][0] == (
        "91 of the prunable weights were zero already; all of block.weight"
    )


def test_warnings_of_the_draw_are_notes(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = prune(request(save(state(), tmp_path, "zip"), sparsity=0))
    assert document["notes"][0] == "sparsity 0: the ticket keeps every weight"


def test_other_weights_in_a_wrapped_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "two.pt"
    torch.save({"state_dict": state(), "state_dict_ema": state(1), "epoch": 3}, path)
    assert prune(request(path))["notes"][-2] == (
        "other weights in the file are left as they are: state_dict_ema"
    )


def test_weights_that_cannot_be_ranked_are_told_with_their_file(tmp_path: Path) -> None:
    # fault row 22
    bad = state()
    bad["stem.weight"][0, 0, 0, 0] = float("nan")
    source = save(bad, tmp_path, "safetensors")
    with pytest.raises(WeightsError, match=r"model.safetensors: stem.weight: 1 of 216 weights"):
        prune(request(source))


# --- which files may be what


def test_outputs_that_are_there_stay_unless_forced(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    pruned, ticket = tmp_path / "pruned.safetensors", tmp_path / "ticket.safetensors"
    ticket.write_bytes(b"old")
    pruned.symlink_to("nowhere.safetensors")
    for expected in (f"{pruned}, {ticket}", str(ticket)):
        with pytest.raises(UsageError) as caught:
            prune(request(source))
        assert str(caught.value) == f"already there: {expected}; --force replaces what is there"
        assert ticket.read_bytes() == b"old"
        pruned.unlink(missing_ok=True)
    prune(request(source, force=True))
    assert load_ticket(ticket).removed


def test_a_misspelt_part_is_told_before_an_output_that_is_there(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    (tmp_path / "ticket.safetensors").write_bytes(b"old")
    with pytest.raises(UsageError, match="unknown scheme 'rwo'"):
        prune(request(source, scheme="rwo"))
    with pytest.raises(UsageError, match=r"did you mean 0\.5"):
        prune(request(source, sparsity=50))


def test_outputs_of_a_run_that_ended_just_now_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save(state(), tmp_path, "safetensors")
    monkeypatch.setattr(pruning, "reserve", other_run_first(tmp_path / "ticket.safetensors"))
    with pytest.raises(UsageError, match="already there"):
        prune(request(source))
    assert (tmp_path / "ticket.safetensors").read_bytes() == b"of another run"


def other_run_first(path: Path) -> Callable[[Path], Any]:
    """`reserve`, which lets another run write its output first."""

    def reserved(wanted: Path) -> Any:
        if wanted == path:
            path.write_bytes(b"of another run")
        return reserve(wanted)

    return reserved


@pytest.mark.parametrize(
    "name", ["model.safetensors", "link.safetensors", "./x/../model.safetensors"]
)
def test_the_input_is_never_replaced(name: str, tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    (tmp_path / "x").mkdir()
    (tmp_path / "link.safetensors").symlink_to("model.safetensors")
    before = source.read_bytes()
    for option in ("output", "ticket"):
        with pytest.raises(UsageError, match="the output would replace its input"):
            prune(request(source, force=True, **{option: tmp_path / name}))
    assert source.read_bytes() == before


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    one = tmp_path / "one.safetensors"
    with pytest.raises(UsageError, match=r"two outputs are one file: .*one\.safetensors"):
        prune(request(save(state(), tmp_path, "safetensors"), output=one, ticket=one))


def test_a_ticket_is_not_replaced_by_what_it_is_applied_to(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    prune(request(source))
    ticket = tmp_path / "ticket.safetensors"
    with pytest.raises(UsageError, match="the output would replace the ticket"):
        apply(ticket, source, ticket, force=True)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ""])
def test_a_safetensors_file_stays_one(suffix: str, tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    with pytest.raises(UsageError, match=r"stays one: give the output the suffix \.safetensors"):
        prune(request(source, output=tmp_path / f"pruned{suffix}"))
    assert names(tmp_path) == ["model.safetensors"]


def test_the_form_is_that_of_the_bytes_and_not_of_the_name(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors").rename(tmp_path / "model.bin")
    prune(request(source, ticket=tmp_path / "x.ticket"))
    assert open_checkpoint(tmp_path / "pruned.bin").form == "safetensors"
    assert load_ticket(tmp_path / "x.ticket").removed


def test_a_link_to_an_output_is_written_through(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    (tmp_path / "far").mkdir()
    (tmp_path / "pruned.safetensors").symlink_to("far/away.safetensors")
    prune(request(source, force=True))
    assert (tmp_path / "pruned.safetensors").is_symlink()
    assert names(tmp_path / "far") == ["away.safetensors"]


# --- nothing is lost


@pytest.fixture(params=["safetensors", "zip", "legacy"])
def big(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint of 800 KB, and outputs of an earlier run."""
    source = save({"a.weight": torch.randn(200, 1000)}, tmp_path, request.param)
    for name in (f"pruned{source.suffix}", "ticket.safetensors"):
        (tmp_path / name).write_bytes(b"old")
    return source


def test_a_quota_leaves_both_old_outputs(big: Path) -> None:
    # fault row 50
    with (
        file_size_limit(500_000),
        pytest.raises(OutputError, match=r"pruned\.\w+: not written: .*bytes are needed"),
    ):
        prune(request(big, force=True))
    for name in (f"pruned{big.suffix}", "ticket.safetensors"):
        assert big.with_name(name).read_bytes() == b"old"
    assert leftovers(big.parent) == []


def test_a_full_disk_at_the_very_end_leaves_both_old_outputs(
    big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # fault row 50
    writing = files.Output.writing

    @functools.wraps(writing)
    def room_for_one(self: files.Output, size: int) -> Any:
        if self.path.name == "ticket.safetensors":
            raise OutputError("no room for the ticket")
        return writing(self, size)

    monkeypatch.setattr(files.Output, "writing", room_for_one)
    with pytest.raises(OutputError, match="no room"):
        prune(request(big, force=True))
    for name in (f"pruned{big.suffix}", "ticket.safetensors"):
        assert big.with_name(name).read_bytes() == b"old"
    assert leftovers(big.parent) == []


def test_a_refused_input_leaves_both_old_outputs(big: Path) -> None:
    with pytest.raises(UsageError, match="no parameter matches"):
        prune(request(big, force=True, include=("nothing",)))
    for name in (f"pruned{big.suffix}", "ticket.safetensors"):
        assert big.with_name(name).read_bytes() == b"old"
    assert leftovers(big.parent) == []


def test_another_run_with_one_output_in_common_stops_both(tmp_path: Path) -> None:
    # fault row 53
    source = save(state(), tmp_path, "safetensors")
    with (
        reserve(tmp_path / "ticket.safetensors"),
        pytest.raises(OutputError, match=f"another run .*ticketkit pid {os.getpid()} on "),
    ):
        prune(request(source))
    assert names(tmp_path) == ["model.safetensors"]


@pytest.mark.parametrize("name", ["nowhere/x.safetensors", "model.safetensors/x.safetensors"])
def test_a_folder_that_is_not_there_is_told(name: str, tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    with pytest.raises(OutputError, match="not written: no such folder"):
        prune(request(source, output=tmp_path / name))
    assert names(tmp_path) == ["model.safetensors"]


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    (tmp_path / "pruned.safetensors").mkdir()
    with pytest.raises(OutputError, match="a folder, where a file is to be written"):
        prune(request(source, force=True))


def test_no_input_is_told_first(tmp_path: Path) -> None:
    # fault row 1
    (tmp_path / "pruned.pt").touch()
    with pytest.raises(InputError, match="no such file"):
        prune(request(tmp_path / "nothing.pt", output=tmp_path / "pruned.pt"))
