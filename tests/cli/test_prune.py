"""`ticketkit prune`: what a user gives, what they get, and what they are told."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.cli.conftest import Cli, Result
from tests.samples import (
    FORMS,
    PRUNABLE,
    leftovers,
    load,
    names,
    quantised,
    save,
    save_shards,
    state,
)
from ticketkit import load_ticket

SPEED = "note: zeros alone speed nothing up: a pruned file has the size and the speed of the dense"


def pruned(cli: Cli, weights: dict[str, torch.Tensor], *options: object) -> dict[str, torch.Tensor]:
    """The weights after `prune --sparsity 0.5` of a file that holds these."""
    save(weights, Path.cwd(), "zip")
    result = cli("prune", "model.pt", "--sparsity", "0.5", "--force", "-q", *options)
    assert result.status == 0, result.err
    return load(Path("model.pruned.pt"))


def refused(cli: Cli, weights: dict[str, torch.Tensor], *options: object, status: int = 3) -> str:
    """What is told of a file that holds these weights."""
    path = save(weights, Path.cwd(), "zip")
    before = names(Path.cwd())
    result = cli("prune", path.name, "--sparsity", "0.5", *options)
    assert (result.status, result.out) == (status, "")
    assert names(Path.cwd()) == before
    assert len(result.err.splitlines()) == 1
    assert "Traceback" not in result.err
    return result.err.removeprefix("error: ").rstrip("\n")


# --- what is written and printed


@pytest.mark.parametrize("form", FORMS)
def test_both_outputs_go_to_the_current_folder(form: str, cli: Cli, folder: Path) -> None:
    (folder / "far").mkdir()
    source = save(state(), folder / "far", form)
    result = cli("prune", f"far/{source.name}", "--sparsity", "0.5")
    assert result.status == 0
    assert names(folder) == ["far", f"model.pruned{source.suffix}", "model.ticket.safetensors"]
    assert names(folder / "far") == [source.name]
    assert f"wrote model.pruned{source.suffix}\nwrote model.ticket.safetensors\n" in result.out


def test_a_table_tells_what_was_cut_and_what_was_spared(cli: Cli, folder: Path) -> None:
    save(state(), folder, "wrapped-zip")
    result = cli("prune", "model.pt", "--sparsity", "0.75")
    assert result.out == (
        "model.pt: PyTorch (zip), entry 'state_dict', 11 tensors\n"
        "\n"
        "layer                     shape    weights  kept  sparsity\n"
        "attention.in_proj_weight  12x4          48    18    0.6250\n"
        "block.weight              8x8x1x1       64    17    0.7344\n"
        "stem.weight               8x3x3x3      216    47    0.7824\n"
        "\n"
        "spared (an embedding, by its name): embedding.weight\n"
        "spared (the task head, which is replaced downstream): fc.weight\n"
        "spared (fewer than two dimensions: biases, normalisation): 21 parameters\n"
        "\n"
        "sparsity over                       requested   reached     removed\n"
        "prunable weights                     0.750000  0.750000  246 of 328\n"
        "all weights (2 or more dimensions)             0.602941  246 of 408\n"
        "all parameters                                 0.573427  246 of 429\n"
        "\n"
        "wrote model.pruned.pt\n"
        "wrote model.ticket.safetensors\n"
    )
    assert result.err == f"{SPEED} one\n"


def test_no_gap_is_left_where_nothing_is_spared(cli: Cli, folder: Path) -> None:
    save({"a.weight": torch.randn(4, 4)}, folder, "zip")
    assert "\n\n\n" not in cli("prune", "model.pt", "--sparsity", "0.5").out
    assert "\n\n\n" not in cli("prune", "model.pt", "--sparsity", "0.5", "--force", "--dry-run").out


def test_json_is_one_document(cli: Cli, folder: Path) -> None:
    save(state(), folder, "zip")
    result = cli("prune", "model.pt", "--sparsity", "0.5", "--json")
    assert result.document["schema"] == "ticketkit.prune/1"
    assert result.document["output"] == "model.pruned.pt"
    assert result.document["counts"]["kept"] == 164
    assert result.err == ""
    assert result.out.isascii()


def test_quiet_prints_nothing_but_errors(cli: Cli, folder: Path) -> None:
    save(state(), folder, "zip")
    assert cli("prune", "model.pt", "--sparsity", "0.5", "--quiet") == Result(0, "", "")
    result = cli("prune", "model.pt", "--sparsity", "0.5", "-q")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: already there: ")


def test_outputs_that_are_there_are_named_and_stay(cli: Cli, folder: Path) -> None:
    save(state(), folder, "zip")
    (folder / "model.ticket.safetensors").write_bytes(b"old")
    result = cli("prune", "model.pt", "--sparsity", "0.5")
    assert result.status == 2
    assert result.err == (
        "error: already there: model.ticket.safetensors; --force replaces what is there\n"
    )
    assert names(folder) == ["model.pt", "model.ticket.safetensors"]
    assert (folder / "model.ticket.safetensors").read_bytes() == b"old"
    assert cli("prune", "model.pt", "--sparsity", "0.5", "--force").status == 0
    assert load_ticket(folder / "model.ticket.safetensors").removed == 164


def test_outputs_can_be_chosen(cli: Cli, folder: Path) -> None:
    save(state(), folder, "zip")
    (folder / "out").mkdir()
    options = ["-o", "out/a.safetensors", "--ticket", "out/b"]
    result = cli("prune", "model.pt", "--sparsity", "0.5", *options)
    assert result.status == 0
    assert names(folder / "out") == ["a.safetensors", "b"]


def test_the_ticket_alone_can_be_written(cli: Cli, folder: Path) -> None:
    save(state(), folder, "zip")
    result = cli("prune", "model.pt", "--sparsity", "0.5", "--no-checkpoint")
    assert result.status == 0
    assert names(folder) == ["model.pt", "model.ticket.safetensors"]
    assert "wrote model.ticket.safetensors\n" in result.out
    assert "wrote model.pruned" not in result.out


def test_a_ticket_alone_may_have_any_name(cli: Cli, folder: Path) -> None:
    save(state(), folder, "safetensors")
    options = ["--no-checkpoint", "--ticket", "x.tkt"]
    assert cli("prune", "model.safetensors", "--sparsity", "0.5", *options).status == 0


def test_no_checkpoint_and_a_place_for_it_exclude_each_other(cli: Cli, folder: Path) -> None:
    result = cli("prune", "model.pt", "--sparsity", "0.5", "--no-checkpoint", "-o", "x.pt")
    assert result.status == 2
    assert "--no-checkpoint and --output exclude each other" in result.err


def test_a_conversion_tells_what_it_left_behind(cli: Cli, folder: Path) -> None:
    save(state(), folder, "wrapped-legacy")
    result = cli("prune", "model.pt", "--sparsity", "0.5", "-o", "x.safetensors")
    assert result.status == 0
    left = "note: left behind in the conversion to safetensors: epoch, optimizer, best\n"
    assert left in result.err
    assert set(load(folder / "x.safetensors")) == set(state())


def test_a_safetensors_file_stays_one(cli: Cli, folder: Path) -> None:
    save(state(), folder, "safetensors")
    result = cli("prune", "model.safetensors", "--sparsity", "0.5", "-o", "x.pt")
    assert result.status == 2
    assert result.err == (
        "error: model.safetensors is a safetensors file and stays one: give the output the suffix "
        ".safetensors, found 'x.pt'\n"
    )
    assert names(folder) == ["model.safetensors"]


@pytest.mark.parametrize("form", FORMS)
def test_a_dry_run_touches_nothing(form: str, cli: Cli, folder: Path) -> None:
    source = save(state(), folder, form)
    os.utime(source, (0, 0))
    result = cli("prune", source.name, "--sparsity", "0.75", "--dry-run")
    assert (result.status, result.err) == (0, "")
    assert names(folder) == [source.name]
    assert "would keep at most 82 of 328 weights\n" in result.out
    assert "scheme unstructured, criterion magnitude, allocation global, strategy omp" in result.out
    assert f"would write model.pruned{source.suffix}, about " in result.out
    assert "would take about 33," in result.out
    found = cli("prune", source.name, "--sparsity", "0.75", "--dry-run", "--json").document
    assert found["schema"] == "ticketkit.plan/1"
    assert names(folder) == [source.name]


def test_a_dry_run_needs_no_weights_and_a_draw_does(cli: Cli, folder: Path) -> None:
    # fault row 32
    save({n: t.to("meta") for n, t in state().items()}, folder, "zip")
    result = cli("prune", "model.pt", "--sparsity", "0.75", "--dry-run")
    assert result.status == 0
    assert "would keep at most 82 of 328 weights\n" in result.out
    result = cli("prune", "model.pt", "--sparsity", "0.75")
    assert result.status == 3
    expected = "a meta tensor has a shape but no values; load weights first"
    assert result.err == f"error: model.pt: attention.in_proj_weight: {expected}\n"
    assert names(folder) == ["model.pt"]


def test_a_dry_run_is_silent_on_request(cli: Cli, folder: Path) -> None:
    save(state(), folder, "zip")
    result = cli("prune", "model.pt", "--sparsity", "0.5", "--dry-run", "--quiet")
    assert (result.status, result.out, result.err) == (0, "", "")


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_modes_of_the_outputs_follow_the_umask(umask: int, cli: Cli, folder: Path) -> None:
    before = os.umask(umask)
    try:
        for form in ("safetensors", "zip"):
            source = save(state(), folder, form)
            assert cli("prune", source.name, "--sparsity", "0.5", "--force").status == 0
            for name in (f"model.pruned{source.suffix}", "model.ticket.safetensors"):
                assert (folder / name).stat().st_mode & 0o777 == 0o666 & ~umask
    finally:
        os.umask(before)


def test_another_entry_is_pruned_on_request(cli: Cli, folder: Path) -> None:
    # fault row 14
    torch.save({"model": state(), "model_ema": state(1), "epoch": 1}, "model.pt")
    result = cli("prune", "model.pt", "--sparsity", "0.5", "--checkpoint-key", "model_ema")
    assert result.out.startswith("model.pt: PyTorch (zip), entry 'model_ema', 11 tensors\n")
    written = torch.load("model.pruned.pt", weights_only=True)
    assert written["model"]["stem.weight"].equal(state()["stem.weight"])
    assert written["model_ema"]["stem.weight"].count_nonzero() < 216
    result = cli("prune", "model.pt", "--sparsity", "0.5", "--checkpoint-key", "emo", "--force")
    assert result.status == 2
    assert result.err == (
        "error: model.pt: no weights under 'emo'; its entries with weights: model, model_ema; did "
        "you mean 'model'?\n"
    )


def test_names_with_spaces_and_other_scripts_are_names(cli: Cli, folder: Path) -> None:
    # fault row 55
    save(state(), folder, "zip", "mein größtes 模 😀")
    result = cli("prune", "mein größtes 模 😀.pt", "--sparsity", "0.5")
    assert result.status == 0
    assert "wrote mein größtes 模 😀.pruned.pt\n" in result.out
    assert leftovers(folder) == []


# --- sparsity


@pytest.mark.parametrize(
    ("sparsity", "message"),
    [
        ("nan", "found nan"),
        ("inf", "found inf"),
        ("-inf", "found -inf"),
        ("-0.1", "found -0.1"),
        ("1.5", "found 1.5"),
        ("50", "found 50.0; did you mean 0.5?"),
        ("1000", "found 1000.0"),
        ("0,9", "found '0,9'; did you mean 0.9?"),
        ("ninety", "found 'ninety'"),
        ("", "found ''"),
        ("90%", "found '90%'; did you mean 0.9?"),
    ],
)
def test_a_sparsity_without_meaning_is_refused(
    sparsity: str, message: str, cli: Cli, folder: Path
) -> None:
    # fault row 17
    save(state(), folder, "safetensors")
    for option in ([], ["--dry-run"]):
        result = cli("prune", "model.safetensors", f"--sparsity={sparsity}", *option)
        assert result.status == 2
        assert f"sparsity is the fraction removed, in [0, 1); {message}" in result.err
    assert names(folder) == ["model.safetensors"]


def test_sparsity_0_is_a_ticket_of_ones_and_warns(cli: Cli, folder: Path) -> None:
    # fault row 18
    source = save(state(), folder, "safetensors")
    result = cli("prune", source.name, "--sparsity", "0")
    assert result.status == 0
    assert "note: sparsity 0: the ticket keeps every weight\n" in result.err
    assert load_ticket(folder / "model.ticket.safetensors").removed == 0
    assert (folder / "model.pruned.safetensors").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("options", "highest"),
    [
        ([], 0.990853),
        (["--scheme", "channel"], 0.881097),
        (["--allocation", "uniform"], 0.979166),
        (["--allow-empty-layers"], 0.996951),
    ],
)
def test_sparsity_1_is_refused_and_what_is_reachable_can_be_had(
    options: list[str], highest: float, cli: Cli, folder: Path
) -> None:
    # fault row 19
    save(state(), folder, "safetensors")
    result = cli("prune", "model.safetensors", "--sparsity", "1", *options)
    assert result.status == 2
    assert f"the highest sparsity reachable is {highest}" in result.err
    assert "(--allow-empty-layers" not in result.err  # which could not help
    assert names(folder) == ["model.safetensors"]
    result = cli("prune", "model.safetensors", "--sparsity", str(highest), *options)
    assert result.status == 0, result.err


def test_requested_and_reached_are_both_told(cli: Cli, folder: Path) -> None:
    # fault row 20
    save(state(), folder, "safetensors")
    options = ["--scheme", "channel", "--json"]
    found = cli("prune", "model.safetensors", "--sparsity", "0.5", *options).document["sparsity"]
    assert found["requested"] == 0.5
    assert 0.5 < found["reached"]["prunable"] < 0.6


# --- weights of every kind


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_weights_that_are_not_finite_are_refused_with_layer_and_count(
    odd: float, criterion: str, cli: Cli
) -> None:
    # fault row 22
    weights = state()
    weights["block.weight"][3:5, 2] = odd
    message = refused(cli, weights, "--criterion", criterion)
    assert message == (
        "model.pt: block.weight: 2 of 64 weights are NaN or infinite (--exclude spares it)"
    )


def test_what_is_not_pruned_may_hold_anything(cli: Cli, folder: Path) -> None:
    # fault row 22
    weights = state()
    weights["fc.weight"][:] = math.nan
    assert pruned(cli, weights)["fc.weight"].isnan().all()


def test_zeros_go_first_and_are_told(cli: Cli, folder: Path) -> None:
    # fault row 23
    weights = {"a.weight": torch.zeros(6, 6), "b.weight": torch.randn(6, 6)}
    weights["b.weight"][0, :3] = 0
    save(weights, folder, "zip")
    result = cli("prune", "model.pt", "--sparsity", "0.5")
    told = "note: 39 of the prunable weights were zero already; all of a.weight\n"
    assert told in result.err
    ticket = load_ticket("model.ticket.safetensors")
    assert ticket.removed == 36
    assert ticket.mask["b.weight"].sum() >= 33


def test_ties_are_cut_to_the_exact_count_by_name_and_place(cli: Cli, folder: Path) -> None:
    # fault row 24
    weights = {"b.weight": torch.ones(5, 7), "a.weight": -torch.ones(4, 8)}
    written = pruned(cli, weights)
    assert written["a.weight"].flatten().tolist() == [-1.0] * 32
    assert written["b.weight"].flatten().tolist() == [1.0] * 1 + [0.0] * 34  # 67 - round(33.5)


def test_minus_zero_denormals_and_the_largest_numbers_are_ranked(cli: Cli, folder: Path) -> None:
    # fault row 25
    values = torch.tensor([[-0.0, 0.0, 1e-45, -2e-45, 3e38, -3.1e38, 1e-38, 1.0]])
    written = pruned(cli, {"a.weight": values})["a.weight"]
    assert written.tolist() == [[0, 0, 0, 0, *values[0, 4:].tolist()]]
    assert not torch.signbit(written[0, :4]).any()
    halves = torch.full((4, 8), 65504.0, dtype=torch.float16)
    halves[::2] -= 64
    written = pruned(cli, {"a.weight": halves}, "--scheme", "channel")["a.weight"]
    assert written.count_nonzero(dim=1).tolist() == [0, 8, 0, 8]


def test_no_layer_dies_unless_it_may_and_then_it_is_named(cli: Cli, folder: Path) -> None:
    # fault row 26
    weights = {"a.weight": torch.randn(8, 8) + 5, "tiny.weight": torch.randn(4, 4) / 1000}
    assert pruned(cli, weights)["tiny.weight"].count_nonzero() == 1
    save(weights, folder, "zip")
    options = ["--sparsity", "0.5", "--force", "--allow-empty-layers"]
    result = cli("prune", "model.pt", *options)
    assert result.status == 0
    assert "note: 1 layers keep nothing: tiny.weight\n" in result.err
    assert load(folder / "model.pruned.pt")["tiny.weight"].count_nonzero() == 0


def test_the_smallest_tensors_are_no_trouble(cli: Cli, folder: Path) -> None:
    # fault row 27
    weights = {
        "one.weight": torch.ones(1, 1),
        "empty.weight": torch.ones(0, 4),
        "empty2.weight": torch.ones(4, 0, 3, 3),
        "scalar.weight": torch.tensor(2.0),
        "vector.weight": torch.ones(3),
        "a.weight": torch.randn(4, 4),
    }
    for form in FORMS:
        path = save(weights, folder, form)
        result = cli("prune", path.name, "--sparsity", "0.5", "--force")
        assert result.status == 0, result.err
        assert "spared (it has no elements): empty" in result.out
        written = load(folder / f"model.pruned{path.suffix}")
        assert {n: t.shape for n, t in written.items()} == {n: t.shape for n, t in weights.items()}
        assert set(load_ticket("model.ticket.safetensors").mask) == {"one.weight", "a.weight"}


def test_nothing_to_prune_lists_what_is_there_and_why(cli: Cli, folder: Path) -> None:
    # fault row 28
    assert refused(cli, {"bn.weight": torch.ones(3), "bn.bias": torch.ones(3)}) == (
        "nothing to prune: spared nothing of two or more dimensions; 2 tensors have fewer than two "
        "dimensions (biases, normalisation)"
    )
    weights = {"fc.weight": torch.ones(3, 3), "embed.weight": torch.ones(3, 3)}
    assert refused(cli, weights) == (
        "nothing to prune: spared embed.weight (an embedding, by its name), fc.weight (the task "
        "head, which is replaced downstream); 0 tensors have fewer than two dimensions (biases, "
        "normalisation)"
    )
    weights = {"a.weight": torch.ones(3, 3)}
    assert "spared a.weight (excluded)" in refused(cli, weights, "--exclude", "a.*")


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2", "complex64"]
)
@pytest.mark.parametrize("form", ["safetensors", "zip"])
def test_every_floating_dtype_is_pruned_by_magnitude_and_kept(
    dtype: str, form: str, cli: Cli, folder: Path
) -> None:
    # fault row 29
    kind = getattr(torch, dtype)
    weight = torch.randn(16, 16).to(kind)
    path = save({"a.weight": weight}, folder, form)
    assert cli("prune", path.name, "--sparsity", "0.5", "-q").status == 0
    written = load(folder / f"model.pruned{path.suffix}")["a.weight"]
    keep = load_ticket("model.ticket.safetensors").mask["a.weight"]
    assert written.dtype == kind
    wide = torch.complex64 if kind.is_complex else torch.float64
    assert int(keep.sum()) == 128
    assert written.to(wide).equal(torch.where(keep, weight.to(wide), 0))
    size = weight.to(wide).abs()
    assert size[keep].min() >= size[~keep].max()


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.uint8])
def test_integers_are_refused_by_name_and_can_be_spared(
    dtype: torch.dtype, cli: Cli, folder: Path
) -> None:
    # fault row 29
    weights = {"a.weight": torch.ones(4, 4, dtype=dtype), "b.weight": torch.randn(4, 4)}
    assert refused(cli, weights) == (
        f"model.pt: a.weight: {str(dtype)[6:]} weights cannot be ranked; expected floating numbers "
        "(--exclude spares it)"
    )
    assert pruned(cli, weights, "--exclude", "a.*")["a.weight"].equal(weights["a.weight"])


def test_quantised_weights_are_refused_by_name(cli: Cli, folder: Path) -> None:
    # fault row 29
    message = refused(cli, {"a.weight": quantised(), "b.weight": torch.randn(4, 4)})
    assert (
        message == "model.pt: a.weight: quantised weights cannot be ranked; prune before converting"
    )


@pytest.mark.parametrize("scheme", ["unstructured", "row", "kernel", "channel"])
def test_the_mask_does_not_depend_on_the_layout_in_memory(
    scheme: str, cli: Cli, folder: Path
) -> None:
    # fault row 30
    plain = {"a.weight": torch.randn(8, 4, 3, 3), "b.weight": torch.randn(6, 5)}
    odd = {
        "a.weight": plain["a.weight"].to(memory_format=torch.channels_last),
        "b.weight": plain["b.weight"].t().contiguous().t(),
    }
    one = pruned(cli, plain, "--scheme", scheme)
    ticket = Path("model.ticket.safetensors").read_bytes()
    other = pruned(cli, odd, "--scheme", scheme)
    assert Path("model.ticket.safetensors").read_bytes() == ticket
    for name, tensor in odd.items():
        assert other[name].equal(one[name])
        assert other[name].stride() == tensor.stride()


def test_tied_weights_are_counted_and_masked_once_and_both_named(cli: Cli, folder: Path) -> None:
    # fault row 31
    tied = torch.randn(6, 6)
    weights = {"encoder.weight": tied, "decoder.weight": tied, "a.weight": torch.randn(2, 6)}
    written = pruned(cli, weights)
    assert written["encoder.weight"].data_ptr() == written["decoder.weight"].data_ptr()
    found = cli("show", "model.ticket.safetensors", "--json").document
    assert found["counts"]["prunable"] == 48
    assert found["layers"][1]["name"] == "decoder.weight"
    assert found["layers"][1]["tied"] == ["encoder.weight"]
    assert "tied, counted and masked once: decoder.weight = encoder.weight" in found["notes"]


def test_a_weight_tied_to_an_embedding_is_spared(cli: Cli, folder: Path) -> None:
    # fault row 31
    tied = torch.randn(6, 6)
    weights = {"embed.weight": tied, "out.weight": tied, "a.weight": torch.randn(4, 4)}
    save(weights, folder, "zip")
    result = cli("prune", "model.pt", "--sparsity", "0.5")
    assert "spared (an embedding, by its name): embed.weight\n" in result.out
    assert set(load_ticket("model.ticket.safetensors").mask) == {"a.weight"}


def layers_of_every_kind() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "conv1": nn.Conv1d(4, 6, 3),
            "conv3": nn.Conv3d(2, 4, 3),
            "grouped": nn.Conv2d(8, 8, 3, groups=4),
            "depthwise": nn.Conv2d(8, 8, 3, groups=8),
            "up": nn.ConvTranspose2d(6, 4, 3, groups=2),
            "linear": nn.Linear(5, 7),
            "attention": nn.MultiheadAttention(8, 2),
            "cross": nn.MultiheadAttention(8, 2, kdim=4, vdim=6),
            "embed": nn.Embedding(9, 4),
            "rnn": nn.LSTM(4, 3),
            "norm": nn.GroupNorm(2, 4),
        }
    )


@pytest.mark.parametrize("scheme", ["unstructured", "row", "kernel", "channel"])
def test_layers_of_every_kind_are_cut_in_their_own_shape(
    scheme: str, cli: Cli, folder: Path
) -> None:
    # fault row 35
    weights = OrderedDict(layers_of_every_kind().state_dict())
    written = pruned(cli, weights, "--scheme", scheme)
    mask = load_ticket("model.ticket.safetensors").mask
    projections = {f"cross.{x}_proj_weight" for x in "qkv"} | {"attention.in_proj_weight"}
    outputs = {"attention.out_proj.weight", "cross.out_proj.weight"}
    convolutions = {f"{x}.weight" for x in ("conv1", "conv3", "grouped", "depthwise", "up")}
    assert set(mask) == {*projections, *outputs, *convolutions, "linear.weight"}
    for name, tensor in weights.items():
        assert written[name].shape == tensor.shape
        assert written[name].equal(tensor * mask[name] if name in mask else tensor)
    layers_of_every_kind().load_state_dict(written)


def test_spared_layers_are_told_with_the_reason(cli: Cli, folder: Path) -> None:
    # fault row 35
    save(layers_of_every_kind().state_dict(), folder, "zip")
    result = cli("prune", "model.pt", "--sparsity", "0.5", "--scheme", "channel")
    assert "spared (not named weight): rnn.weight_hh_l0, rnn.weight_ih_l0\n" in result.out
    assert "spared (neither" not in result.out
    assert "spared (an embedding, by its name): embed.weight\n" in result.out
    assert "note: a file does not tell transposed convolutions apart" in result.err


# --- parts and plugins by name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--scheme", "rows"],
            "unknown scheme 'rows'; choose from channel, kernel, nm, row, unstructured; did you "
            "mean 'row'?",
        ),
        (["--criterion", "x"], "unknown criterion 'x'; choose from magnitude, random"),
        (["--allocation", "globl"], "unknown allocation 'globl'"),
        (["--scheme", "row:width=2"], "'row:width=2': no option 'width'; it has none"),
        (["--scheme", "no.such:thing"], "no scheme at no.such:thing: ModuleNotFoundError"),
        (["--include", "nothing.*"], "no parameter matches 'nothing.*'"),
        (["--exclude", "stm.weight"], "no parameter matches 'stm.weight'; did you mean 'stem"),
    ],
)
def test_a_name_that_is_unknown_lists_the_near_ones(
    options: list[str], message: str, cli: Cli, folder: Path
) -> None:
    assert refused(cli, state(), *options, status=2).startswith(message)


def test_include_and_exclude_change_what_is_cut(cli: Cli, folder: Path) -> None:
    save(state(), folder, "zip")
    options = ["--include", "fc.weight", "--include", "embed*", "--exclude", "stem.*"]
    assert cli("prune", "model.pt", "--sparsity", "0.5", *options).status == 0
    expected = {*PRUNABLE, "fc.weight", "embedding.weight"} - {"stem.weight"}
    assert set(load_ticket("model.ticket.safetensors").mask) == expected


def test_the_same_seed_gives_the_same_ticket_and_another_another(cli: Cli, folder: Path) -> None:
    save(state(), folder, "zip")
    tickets = []
    for seed in (1, 1, 2):
        options = ["--criterion", "random", "--seed", seed, "--force", "--no-checkpoint"]
        assert cli("prune", "model.pt", "--sparsity", "0.5", *options).status == 0
        tickets.append(Path("model.ticket.safetensors").read_bytes())
    assert tickets[0] == tickets[1] != tickets[2]


# --- shards


def test_a_folder_of_shards_becomes_another_and_is_shown_applied_and_verified(
    cli: Cli, folder: Path
) -> None:
    save_shards(state(), folder)
    result = cli("prune", "model", "--sparsity", "0.5")
    assert result.status == 0
    assert "model: sharded safetensors, 3 files, 11 tensors\n" in result.out
    assert "wrote model.pruned\n" in result.out
    assert names(folder) == ["model", "model.pruned", "model.ticket.safetensors"]
    assert cli("show", "model").out.startswith("model: a checkpoint, no ticket: sharded")
    assert cli("verify", "model.ticket.safetensors", "model.pruned").status == 0
    result = cli("verify", "model.ticket.safetensors", "model")
    assert (result.status, "164 of 164 removed weights are not zero" in result.out) == (1, True)
    assert cli("apply", "model.ticket.safetensors", "model", "-o", "again").status == 0
    for path in (folder / "again").iterdir():
        assert path.read_bytes() == (folder / "model.pruned" / path.name).read_bytes()


def test_a_dry_run_on_shards_touches_nothing(cli: Cli, folder: Path) -> None:
    save_shards(state(), folder)
    index = "model/model.safetensors.index.json"
    result = cli("prune", index, "--sparsity", "0.5", "--dry-run")
    assert result.status == 0
    assert "would write model.pruned, about" in result.out
    assert names(folder) == ["model"]


def test_shards_have_no_entry_to_choose(cli: Cli, folder: Path) -> None:
    save_shards(state(), folder)
    result = cli("prune", "model", "--sparsity", "0.5", "--checkpoint-key", "state_dict")
    assert result.status == 2
    assert "it has no entries to choose" in result.err


def test_a_folder_without_an_index_is_refused(cli: Cli, folder: Path) -> None:
    (folder / "empty").mkdir()
    result = cli("prune", "empty", "--sparsity", "0.5")
    assert (result.status, result.out) == (3, "")
    assert result.err.startswith("error: empty: a folder; expected one *.safetensors.index.json")


def test_globs_are_over_the_names_of_the_bare_network(cli: Cli, folder: Path) -> None:
    weights = {f"module.{name}": tensor for name, tensor in state().items()}
    save(weights, folder, "zip")
    options = ("--sparsity", "0.5", "--exclude", "stem.*", "--json")
    found = cli("prune", "model.pt", *options).document
    assert [layer["name"] for layer in found["layers"]] == [
        "attention.in_proj_weight",
        "block.weight",
    ]


# --- schemes of one sparsity, criteria that look at data


def test_a_scheme_of_one_sparsity_needs_none_and_names_what_it_spares(
    cli: Cli, folder: Path
) -> None:
    save(state(), folder, "safetensors")
    result = cli("prune", "model.safetensors", "--scheme", "nm")
    assert result.status == 0, result.err
    assert "\nspared (27 weights an output, no multiple of 4): stem.weight\n" in result.out
    assert "prunable weights                     0.500000  0.500000  56 of 112\n" in result.out
    document = cli("prune", "model.safetensors", "--scheme", "nm", "--dry-run", "--json").document
    assert document["sparsity"] == {"requested": 0.5}
    assert document["counts"]["prunable"] == 112
    assert document["counts"]["kept_at_most"] == 56
    assert {layer["name"] for layer in document["layers"]} == set(PRUNABLE) - {"stem.weight"}
    reason = "27 weights an output, no multiple of 4"
    assert {"name": "stem.weight", "reason": reason} in document["spared"]


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], 2, "scheme unstructured needs --sparsity (in Python sparsity=), the fraction to rem"),
        (["--scheme", "nm", "--sparsity", "0.6"], 2, "scheme nm:n=2,m=4 has a sparsity of its own"),
        (["--scheme", "nm:n=5"], 2, "nm keeps n of every m weights, whole numbers with 1 <= n <="),
        (["--scheme", "nm", "--allocation", "erk"], 2, "scheme nm:n=2,m=4 removes 0.5 of each la"),
        (
            ["--scheme", "nm", "--allocation", "lamp"],
            2,
            "scheme nm:n=2,m=4 ranks scores as they are: al",
        ),
        (["--scheme", "nm:n=1,m=7"], 3, "nothing to prune: spared attention.in_proj_weight (4 we"),
        (["--sparsity", "0.5", "--criterion", "taylor"], 2, "criterion taylor looks at data: give"),
    ],
)
def test_what_a_part_cannot_do_is_told(
    options: list[str], status: int, message: str, dry: tuple[str, ...], cli: Cli, folder: Path
) -> None:
    save(state(), folder, "zip")
    result = cli("prune", "model.pt", *options, *dry)
    assert (result.status, result.out) == (status, "")
    assert result.err.startswith(f"error: {message}")
    assert names(folder) == ["model.pt"]
