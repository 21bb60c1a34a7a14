"""What a draw would do: told from names and shapes alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.samples import FORMS, names, request, save, state
from ticketkit import InputError, UnreachableSparsity, UsageError, WeightsError
from ticketkit.planning import plan
from ticketkit.pruning import prune
from ticketkit.request import Request


@pytest.mark.parametrize("form", FORMS)
def test_a_plan_touches_nothing_and_foretells_the_draw(form: str, tmp_path: Path) -> None:
    source = save(state(), tmp_path, form)
    found = plan(request(source))
    assert names(tmp_path) == [source.name]
    done = prune(request(source))
    assert found["schema"] == "ticketkit.plan/1"
    for same in ("input", "output", "ticket", "parts", "spared"):
        assert found[same] == done[same]
    for count in ("prunable", "weights", "parameters"):
        assert found["counts"][count] == done["counts"][count]
    assert found["counts"]["kept_at_most"] == done["counts"]["kept"]
    assert [x["name"] for x in found["layers"]] == [x["name"] for x in done["layers"]]
    pruned = tmp_path / f"pruned{source.suffix}"
    assert found["bytes"]["checkpoint"] == pytest.approx(pruned.stat().st_size, rel=0.1)
    ticket = (tmp_path / "ticket.safetensors").stat().st_size
    assert found["bytes"]["ticket"] == pytest.approx(ticket, abs=1500)


def test_blocks_are_counted_as_the_scheme_cuts_them(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "safetensors")
    blocks = {x["name"]: x["blocks"] for x in plan(request(source, scheme="row"))["layers"]}
    assert blocks == {"attention.in_proj_weight": 48, "block.weight": 64, "stem.weight": 72}


def test_tensors_without_values_can_be_planned(tmp_path: Path) -> None:
    # fault row 32
    meta = {name: tensor.to("meta") for name, tensor in state().items()}
    source = save(meta, tmp_path, "zip")
    assert plan(request(source))["counts"]["prunable"] == 328
    assert plan(request(source, output=None))["bytes"]["checkpoint"] == 0


@pytest.mark.parametrize("allocation", ["global", "uniform"])
@pytest.mark.parametrize("scheme", ["unstructured", "row", "channel"])
@pytest.mark.parametrize("allow", [False, True])
def test_what_a_plan_refuses_a_draw_refuses_too(
    scheme: str, allocation: str, allow: bool, tmp_path: Path
) -> None:
    # fault row 19
    source = save(state(), tmp_path, "safetensors")
    for sparsity in (0.5, 0.9, 0.95, 0.985, 0.99, 0.999, 1):
        asked = request(
            source,
            sparsity=sparsity,
            scheme=scheme,
            allocation=allocation,
            allow_empty_layers=allow,
            force=True,
        )
        planned, drawn = highest(plan, asked), highest(prune, asked)
        assert planned is None or (drawn is not None and drawn <= planned < sparsity)
        assert sparsity < 1 or planned is not None


def highest(command: Callable[[Request], object], asked: Request) -> float | None:
    """The highest sparsity reachable, if the command says that what is asked is not."""
    try:
        command(asked)
    except UnreachableSparsity as error:
        return error.highest
    return None


@pytest.mark.parametrize("sparsity", [float("nan"), -0.1, 1.5])
def test_a_sparsity_without_meaning_is_refused(sparsity: float, tmp_path: Path) -> None:
    # fault row 17
    with pytest.raises(UsageError, match="sparsity is the fraction removed"):
        plan(request(save(state(), tmp_path, "zip"), sparsity=sparsity))


def test_a_plan_checks_the_same_files_as_a_draw(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "zip")
    with pytest.raises(UsageError, match="would replace its input"):
        plan(request(source, output=source))
    with pytest.raises(InputError, match="no such file"):
        plan(request(tmp_path / "nothing.pt"))


def test_outputs_that_are_there_are_a_note_of_a_plan(tmp_path: Path) -> None:
    source = save(state(), tmp_path, "zip")
    (tmp_path / "ticket.safetensors").write_bytes(b"old")
    (note,) = plan(request(source))["notes"]
    assert note.startswith("already there: ")
    assert plan(request(source, force=True))["notes"] == []


@pytest.mark.parametrize("form", ["safetensors", "zip"])
def test_a_plan_refuses_the_integer_weights_that_a_draw_refuses(form: str, tmp_path: Path) -> None:
    # fault row 29
    whole = {**state(), "stem.weight": torch.ones(2, 2, dtype=torch.int8)}
    source = save(OrderedDict(whole), tmp_path, form)
    for run in (plan, prune):
        with pytest.raises(WeightsError, match=r"stem.weight: \w+ weights cannot be ranked"):
            run(request(source))
    plan(request(source, exclude=("stem.weight",)))


def test_sparsity_1_has_no_hint_that_could_not_help(tmp_path: Path) -> None:
    # fault row 19
    source = save(state(), tmp_path, "zip")
    for run in (plan, prune):
        with pytest.raises(UnreachableSparsity) as caught:
            run(request(source, sparsity=1.0))
        assert "allow-empty-layers" not in str(caught.value)


def test_nothing_to_prune_is_told(tmp_path: Path) -> None:
    # fault row 28
    with pytest.raises(InputError, match="nothing to prune: spared nothing of two or more"):
        plan(request(save({"a.bias": torch.ones(3)}, tmp_path, "zip")))
