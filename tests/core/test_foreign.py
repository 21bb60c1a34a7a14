"""Other tools' masks as tickets, from files made as those tools make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.core.foreign_files import (
    Weights,
    cv_lth,
    get_subnet,
    hidden,
    network,
    open_lth,
    plain,
    pruned_by_torch,
)
from tests.samples import FORMS, check_message, names, save
from ticketkit import (
    CheckpointError,
    InputError,
    Mask,
    MismatchError,
    Ticket,
    UsageError,
    WeightsError,
    load_ticket,
)
from ticketkit.applying import apply
from ticketkit.foreign import import_mask
from ticketkit.showing import show
from ticketkit.verification import verify


def imported(path: Path, **options: Any) -> tuple[Ticket, dict[str, Any]]:
    """The ticket of a file, and what was told of it."""
    target = path.with_name("ticket.safetensors")
    document = import_mask(path, target, force=True, **options)
    return load_ticket(target), document


def refused(path: Path, kind: type[Exception], match: str, **options: Any) -> None:
    """The file is refused for this reason, in one line, and nothing is written."""
    before = names(path.parent)
    with pytest.raises(kind, match=match) as caught:
        import_mask(path, path.with_name("never.safetensors"), **options)
    check_message(caught.value)
    assert path.name in str(caught.value)
    assert names(path.parent) == before


def check_round_trip(ticket: Ticket, dense: Weights, folder: Path) -> None:
    """The ticket applies to its dense weights, and what it removes is zero."""
    path = save(dense, folder, "zip", "dense")
    apply(folder / "ticket.safetensors", path, folder / "pruned.pt", force=True)
    assert verify(folder / "ticket.safetensors", folder / "pruned.pt")["ok"]
    written = torch.load(folder / "pruned.pt", weights_only=True)
    assert set(written) == set(dense)
    for name, tensor in dense.items():
        keep = ticket.mask[name] if name in ticket.mask else torch.ones_like(tensor).bool()
        assert written[name].equal(torch.where(keep, tensor, torch.zeros(())).to(tensor.dtype))
    others = {name: tensor + 1 for name, tensor in dense.items()}
    with pytest.raises(MismatchError, match="other weights"):
        apply(folder / "ticket.safetensors", save(others, folder, "zip", "x"), folder / "y.pt")
    assert show(folder / "ticket.safetensors")["kind"] == "ticket"


# --- torch.nn.utils.prune


@pytest.mark.parametrize("form", FORMS)
def test_pairs_of_torch_are_the_mask_and_the_weights_in_any_form_of_file(
    form: str, tmp_path: Path
) -> None:
    model = network()
    dense = plain(model)
    masks = pruned_by_torch(model)
    ticket, document = imported(save(plain(model), tmp_path, form))
    assert ticket.mask == Mask(masks)
    assert document["form"] == "torch-prune"
    assert document["notes"] == []
    provenance = ticket.provenance
    assert provenance.strategy == "import:form=torch-prune"
    assert {provenance.scheme, provenance.criterion, provenance.allocation} == {"unknown"}
    assert provenance.sparsity == ticket.mask.sparsity
    masked = sum(mask.numel() for mask in masks.values())
    parameters = [*network().parameters()]
    matrices = sum(p.numel() for p in parameters if p.dim() >= 2)
    everything = sum(p.numel() for p in parameters)
    assert vars(ticket.counts) == {
        "prunable": masked,
        "weights": matrices,
        "parameters": everything,
    }
    check_round_trip(ticket, dense, tmp_path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "module._fsdp_wrapped_module."])
def test_a_prefix_that_all_names_share_is_left_out_and_told(prefix: str, tmp_path: Path) -> None:
    model = network()
    dense = plain(model)
    masks = pruned_by_torch(model)
    state = {prefix + name: tensor for name, tensor in plain(model).items()}
    ticket, document = imported(save(state, tmp_path, "wrapped-zip"))
    assert ticket.mask == Mask(masks)
    assert document["notes"] == [f"{prefix!r} was stripped from every name; files keep it"]
    check_round_trip(ticket, dense, tmp_path)


@settings(deadline=None)
@given(st.data())
def test_any_mask_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=0, max_size=4))
    size = int(torch.Size(shape).numel())
    bits = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    dtype = data.draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
    mask = torch.tensor(bits).reshape(shape)
    pair = {"a.weight_orig": torch.ones(shape, dtype=dtype), "a.weight_mask": mask.to(dtype)}
    folder = tmp_path_factory.mktemp("any")
    for weights in (pair, {"a.weight_mask": mask.to(dtype)}, {"a.weight": mask.int()}):
        ticket, _ = imported(save(weights, folder, "safetensors"))
        assert ticket.mask["a.weight"].equal(mask)
        assert ticket.counts.parameters == size


def test_layers_that_are_empty_or_whole_are_told(tmp_path: Path) -> None:
    state: Weights = {}
    for name, value in {"a": 0, "b": 1}.items():
        state |= {f"{name}.weight_orig": torch.ones(2, 2)}
        state |= {f"{name}.weight_mask": torch.full((2, 2), float(value))}
    ticket, document = imported(save(state, tmp_path, "zip"))
    assert ticket.mask.sparsity == 0.5
    assert document["notes"] == [
        "1 of 2 layers keep nothing: a.weight",
        "1 of 2 layers keep every weight: b.weight",
    ]


def test_what_ends_in_mask_but_masks_no_parameter_is_a_buffer(tmp_path: Path) -> None:
    dense = {"a.weight": torch.ones(2, 2), "a.attn_mask": torch.ones(3)}
    state = {
        "a.weight_orig": torch.ones(2, 2),
        "a.weight_mask": torch.eye(2),
        "a.attn_mask": torch.ones(3),
    }
    ticket, document = imported(save(state, tmp_path, "zip"))
    assert list(ticket.mask) == ["a.weight"]
    assert document["notes"] == ["taken for buffers of the network: a.attn_mask"]
    check_round_trip(ticket, dense, tmp_path)


def test_tied_parameters_count_once(tmp_path: Path) -> None:
    shared = torch.randn(4, 4)
    state = {"a.weight_orig": shared, "a.weight_mask": torch.eye(4), "b.weight": shared}
    ticket, _ = imported(save(state, tmp_path, "zip"))
    assert vars(ticket.counts) == {"prunable": 16, "weights": 16, "parameters": 16}
    assert list(ticket.mask) == ["a.weight"]


PAIR = {"a.weight_orig": torch.ones(2, 2), "a.weight_mask": torch.eye(2)}


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"a.weight_mask": torch.full((2, 2), 0.5)}, InputError, "a.weight: a mask is bool or 0"),
        ({"a.weight_mask": torch.full((2, 2), torch.nan)}, InputError, "a.weight: a mask is bool"),
        ({"a.weight_mask": torch.eye(2) * 1j}, InputError, "found other complex64"),
        ({"a.weight_mask": torch.eye(2).to_sparse()}, CheckpointError, "a.weight: expected a dens"),
        (
            {"a.weight_mask": torch.ones(2, 3)},
            MismatchError,
            r"a.weight: \[2, 3\] in the mask, \[2, 2\] found",
        ),
        ({"b.weight_mask": torch.eye(2)}, CheckpointError, "b.weight_mask: a mask without its wei"),
        ({"a.weight": torch.eye(2)}, CheckpointError, "a.weight: both NAME and NAME_orig"),
        (
            {"b.weight": torch.eye(2), "b.scores": torch.eye(2)},
            CheckpointError,
            "more than one form: torch-prune and hidden-networks",
        ),
    ],
)
def test_pairs_that_are_not_as_torch_makes_them_are_refused(
    change: Weights, kind: type[Exception], match: str, tmp_path: Path
) -> None:
    torch.save({**PAIR, **change}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", kind, match)


def test_a_mask_beside_weights_that_are_no_pair_is_refused(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(2), "a.weight_mask": torch.ones(2)}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", CheckpointError, "a.weight_mask: a mask without its weights")


# --- open_lth


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_mask_of_open_lth_is_read(form: str, tmp_path: Path) -> None:
    dense = {n: t for n, t in plain(network()).items() if n in ("conv1.weight", "conv2.weight")}
    mask = {name: (tensor.abs() > 0.1).float() for name, tensor in dense.items()}
    open_lth(tmp_path / "mask.pth", mask)
    path = tmp_path / "mask.pth"
    if form != "zip":
        path = save(torch.load(path, weights_only=True), tmp_path, form, "mask")
    ticket, document = imported(path)
    assert ticket.mask == Mask(mask)
    assert ticket.provenance.strategy == "import:form=open-lth"
    assert ticket.provenance.source is None
    assert set(vars(ticket.counts).values()) == {ticket.mask.size}
    assert document["notes"] == [
        "the file holds no weights: 'apply' cannot tell whose weights this mask is of"
    ]
    apply(tmp_path / "ticket.safetensors", save(dense, tmp_path, "zip"), tmp_path / "p.pt")


def test_integers_other_than_0_and_1_are_no_mask(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.tensor([0, 1, 2])}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", InputError, "w.pt: a.weight: a mask is bool or 0 and 1; found other")


# --- CV_LTH_Pre-training


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_a_checkpoint_of_cv_lth_is_the_mask_on_the_initial_weights(
    parallel: bool, with_mask: bool, tmp_path: Path
) -> None:
    path = tmp_path / "1model_best.pth.tar"
    initial, masks = cv_lth(path, parallel=parallel, with_mask=with_mask)
    ticket, document = imported(path)
    assert ticket.mask == Mask(masks)
    assert ticket.provenance.strategy == "import:form=cv-lth"
    assert document["notes"] == [
        "the weights are those of 'init_weight', to which a ticket rewinds"
    ]
    check_round_trip(ticket, initial, tmp_path)


def test_an_entry_that_is_chosen_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.pth.tar"
    initial, masks = cv_lth(path, parallel=True, with_mask=True)
    trained, _ = imported(path, checkpoint_key="state_dict")
    assert trained.mask == Mask(masks)
    check_round_trip(
        trained,
        {n: t + 0.01 * t.is_floating_point() for n, t in initial.items()}
        | {n: initial[n] for n in ("bn.running_mean", "bn.running_var", "bn.num_batches_tracked")},
        tmp_path,
    )
    alone, _ = imported(path, checkpoint_key="mask")
    assert alone.mask == Mask(masks)
    assert alone.provenance.source is None
    refused(path, CheckpointError, "no masks of a form that is read", checkpoint_key="init_weight")


@pytest.mark.parametrize("wrapped", [False, True])
def test_masks_alone_are_read(wrapped: bool, tmp_path: Path) -> None:
    masks = {"conv.weight_mask": torch.eye(3), "fc.weight_mask": torch.ones(2, 2)}
    torch.save({"mask": masks, "epoch": 1} if wrapped else masks, tmp_path / "m.pt")
    ticket, document = imported(tmp_path / "m.pt")
    assert ticket.mask == Mask({n.removesuffix("_mask"): mask for n, mask in masks.items()})
    assert document["form"] == "cv-lth"


def test_masks_beside_plain_weights_are_of_those(tmp_path: Path) -> None:
    dense, masks = {"a.weight": torch.randn(3, 3)}, {"a.weight_mask": torch.eye(3)}
    torch.save({"state_dict": dense, "mask": masks}, tmp_path / "m.pt")
    ticket, _ = imported(tmp_path / "m.pt")
    check_round_trip(ticket, dense, tmp_path)


def test_entries_that_do_not_agree_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"state_dict": PAIR, "mask": {"a.weight_mask": torch.ones(2, 2)}}, path)
    refused(path, CheckpointError, "masks in 'mask' and in 'state_dict' differ.*--checkpoint-key")
    torch.save({"state_dict": PAIR, "init_weight": {"b.weight": torch.ones(2, 2)}}, path)
    refused(path, MismatchError, "entry 'init_weight': .* 1 are missing.*a.weight")


# --- hidden-networks, Robust-Scratch-Ticket


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("axes", "scheme"), [(4, "unstructured"), (3, "row"), (2, "kernel"), (1, "channel")]
)
def test_scores_become_the_subnet_that_their_tool_computes(
    axes: int, scheme: str, legacy: bool, parallel: bool, tmp_path: Path
) -> None:
    path = tmp_path / "model_best.pth"
    state = hidden(path, axes, parallel=parallel, legacy=legacy)
    ticket, _ = imported(path, sparsity=0.93)
    for name, keep in ticket.mask.items():
        subnet = get_subnet(state[name.replace("weight", "scores")], 0.07)
        grain = subnet.reshape(*subnet.shape, *(1,) * (4 - axes))
        assert keep.equal(grain.bool().expand(keep.shape))
    assert list(ticket.mask) == ["conv1.weight", "conv2.weight", "fc.weight"]
    assert ticket.provenance.scheme == scheme
    assert ticket.provenance.strategy == "import:form=hidden-networks,sparsity=0.93"
    dense = {name: tensor for name, tensor in state.items() if "scores" not in name}
    assert ticket.counts.parameters == sum(t.numel() for n, t in dense.items() if "weight" in n)
    check_round_trip(ticket, dense, tmp_path)


def test_scores_need_a_sparsity_and_nothing_else_does(tmp_path: Path) -> None:
    hidden(tmp_path / "h.pth", 4, parallel=True)
    refused(tmp_path / "h.pth", UsageError, "--sparsity; it is 1 - prune_rate .k. of hidden-netw")
    for sparsity in (-0.1, 50, float("nan")):
        with pytest.raises(UsageError, match="sparsity is the fraction removed"):
            import_mask(tmp_path / "h.pth", tmp_path / "t.safetensors", sparsity=sparsity)
    torch.save(PAIR, tmp_path / "p.pt")
    refused(tmp_path / "p.pt", UsageError, "--sparsity is for scores", sparsity=0.5)


def test_equal_scores_at_the_cut_are_told(tmp_path: Path) -> None:
    state = {"a.weight": torch.ones(2, 5), "a.scores": torch.ones(2, 5)}
    ticket, document = imported(save(state, tmp_path, "zip"), sparsity=0.3)
    assert ticket.mask["a.weight"].flatten().tolist() == [False] * 3 + [True] * 7
    assert document["notes"] == [
        "equal scores at the cut, removed by position; their tool leaves it open: a.scores"
    ]


@pytest.mark.parametrize(
    ("scores", "kind", "match"),
    [
        (torch.tensor([1.0, torch.nan]), WeightsError, "a.scores: 1 of 2 scores are not a number"),
        (torch.ones(3), MismatchError, r"weight \[2, 5\], found \[3\]"),
        (torch.ones(2, 5, 1), MismatchError, r"found \[2, 5, 1\]"),
        (torch.ones(()), MismatchError, r"found \[\]"),
        (torch.ones(2, dtype=torch.int32), WeightsError, "expected scores of floating numbers"),
    ],
)
def test_scores_that_fit_no_weight_or_cannot_be_ranked_are_refused(
    scores: torch.Tensor, kind: type[Exception], match: str, tmp_path: Path
) -> None:
    torch.save({"a.weight": torch.ones(2, 5), "a.scores": scores}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", kind, match, sparsity=0.5)


def test_scores_without_their_weight_are_refused(tmp_path: Path) -> None:
    state = {"a.weight": torch.ones(2), "a.scores": torch.ones(2), "b.scores": torch.ones(2)}
    torch.save(state, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", CheckpointError, "b.scores: scores without a weight", sparsity=0.5)


# --- what is none of these


def test_what_is_not_recognised_is_refused_with_the_forms_and_what_was_found(
    tmp_path: Path,
) -> None:
    torch.save({"state_dict": nn.Linear(2, 2).state_dict()}, tmp_path / "w.pt")
    match = r"NAME_orig with NAME_mask.*open_lth.*found 2 tensors, such as weight, bias$"
    refused(tmp_path / "w.pt", CheckpointError, match)
    path = save({}, tmp_path, "safetensors", "empty")
    refused(path, CheckpointError, "found 0 tensors")


def test_a_ticket_is_no_mask_of_another_tool(tmp_path: Path) -> None:
    Ticket(Mask({"a": [True]}), *_provenance()).save(tmp_path / "t.safetensors")
    refused(tmp_path / "t.safetensors", CheckpointError, "a ticket, where a checkpoint was")


def _provenance() -> tuple[Any, Any]:
    from ticketkit import Counts, Provenance

    return Provenance("row", "magnitude", "global", "omp", 0.5, 0), Counts(1, 0, 1)


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    model = network()
    pruned_by_torch(model)
    found = set()
    for form in FORMS:
        imported(save(plain(model), tmp_path, form))
        found.add((tmp_path / "ticket.safetensors").read_bytes())
    assert len(found) == 1
