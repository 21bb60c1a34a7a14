"""Strategy `imp`."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import prune as torch_prune

import ticketkit
from tests.core.networks import Named, pictures, same_bits
from ticketkit.seeds import seed_of
from ticketkit_plugins.strategies.imp import Imp

FIT = "small:epochs=2,batch=10,lr=0.05"


class Watching(ticketkit.Robustifier):
    """Changes no input, and keeps the network as it is after some of each training."""

    name = "watching"

    def __init__(self, after: float = 0.0) -> None:
        self.after = after
        self.seen: list[nn.Module] = []

    def perturb(
        self,
        model: nn.Module,
        inputs: torch.Tensor,
        targets: Any,
        context: ticketkit.StepContext,
    ) -> torch.Tensor:
        if context.progress == self.after:
            self.seen.append(copy.deepcopy(model))
        return inputs


def draw(model: nn.Module, **options: Any) -> ticketkit.Ticket:
    chosen = {"scheme": "unstructured", "strategy": "imp", "data": pictures(50), "schedule": FIT}
    return ticketkit.draw(model, **{**chosen, **options})


def masks_of(model: nn.Module, folder: Path, **options: Any) -> list[ticketkit.Mask]:
    """The mask of each round."""
    draw(model, run=folder / "run", **options)
    paths = sorted(folder.glob("run/round-*/ticket.safetensors"))
    return [ticketkit.load_ticket(path).mask for path in paths]


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        ((), (2_233_382, 6_592_945, 8_825_041, 9_967_874)),
        (("conv1.weight",), (2_231_501, 6_587_390, 8_817_606, 9_959_477)),
    ],
)
def test_the_counts_of_resnet18_are_those_of_torch_that_prunes_again_and_again(
    exclude: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    """What `prune.global_unstructured(amount=0.2)`, called k times, makes zero."""
    told: list[dict[str, Any]] = []
    grey = pictures(4, side=32)
    draw(
        torchvision.models.resnet18(num_classes=3),
        sparsity=0.9,
        data=ticketkit.Pictures(grey.images.expand(-1, 3, -1, -1), grey.targets),
        schedule="small:epochs=0,steps=1,batch=2",
        exclude=exclude,
        report=lambda event: told.append(dict(event)),
    )
    removed = [event["of"] - event["kept"] for event in told if event["event"] == "round"]
    assert tuple(removed[k - 1] for k in (1, 4, 7, 10)) == expected


def test_it_is_what_torch_makes_of_it_round_by_round(tmp_path: Path) -> None:
    """Written out: prune by torch, rewind, train under the mask, prune again."""
    dense = Named()
    found = masks_of(dense, tmp_path, sparsity=0.7, strategy="imp:rate=0.4")
    trained, mask = copy.deepcopy(dense), None
    for number in itertools.count(1):
        if mask is not None:
            trained = copy.deepcopy(dense)
            seed = seed_of(0, f"round-{number:03}-1")
            ticketkit.fit(trained, pictures(50), schedule=FIT, mask=mask, seed=seed)
        own = trained.get_parameter("body.0.weight")
        weight = own.detach().flatten()
        keep = torch.ones_like(weight) if mask is None else mask["body.0.weight"].flatten().float()
        amount = 0.4 if number < 3 else round(0.7 * 72) - round(72 - keep.sum().item())
        left = nn.Linear(1, 1)
        left.weight = nn.Parameter(weight[keep.bool()])
        torch_prune.l1_unstructured(left, "weight", amount)  # type: ignore[no-untyped-call]
        keep[keep.bool()] = left.get_buffer("weight_mask")
        mask = ticketkit.Mask({"body.0.weight": keep.bool().reshape(own.shape)})
        assert mask == found[number - 1]
        if number == len(found):
            break
    assert number == 3


def test_each_round_is_nested_in_the_one_before_and_cuts_a_share_of_what_is_left(
    tmp_path: Path,
) -> None:
    masks = masks_of(Named(), tmp_path, sparsity=0.9)
    assert len(masks) == math.ceil(math.log(0.1) / math.log(0.8))
    for one, other in itertools.pairwise(masks):
        assert (one & other) == other
        if other is not masks[-1]:
            assert one.kept - other.kept == round(0.2 * one.kept)
    assert masks[-1].kept == 72 - round(0.9 * 72)


@pytest.mark.parametrize("train_first", [False, True])
def test_each_training_begins_with_the_pretrained_weights_under_the_mask(
    tmp_path: Path, train_first: bool
) -> None:
    dense, watching = Named(), Watching()
    strategy = Imp(rate=0.4, train_first=train_first)
    masks = masks_of(dense, tmp_path, sparsity=0.7, strategy=strategy, robustifier=watching)
    assert len(masks) == 3
    begun = ([None] if train_first else []) + masks[:-1]
    assert len(watching.seen) == len(begun)
    for seen, mask in zip(watching.seen, begun, strict=True):
        expected = copy.deepcopy(dense)
        if mask is not None:
            mask.apply_(expected)
        assert same_bits(seen, expected)


def test_the_network_is_left_alone_and_the_ticket_is_of_its_pretrained_weights() -> None:
    dense = Named().eval()
    before = copy.deepcopy(dense)
    ticket = draw(dense, sparsity=0.7, digest=True)
    assert same_bits(dense, before)
    assert not dense.training
    once = ticketkit.draw(dense, scheme="unstructured", sparsity=0.7, digest=True)
    assert ticket.provenance.source == once.provenance.source is not None
    assert ticket.provenance.fit is not None


def test_late_rewinding_returns_to_the_weights_after_so_many_steps(tmp_path: Path) -> None:
    dense, watching = Named(), Watching()
    strategy = Imp(rate=0.4, rewind=3)
    masks = masks_of(dense, tmp_path, sparsity=0.7, strategy=strategy, robustifier=watching)
    early, *begun = watching.seen
    assert same_bits(early, dense)
    once = ticketkit.draw(dense, scheme="unstructured", sparsity=0.4)
    assert masks[0] == once.mask  # the first cut is of the pretrained weights
    for seen, mask in zip(begun, masks[:-1], strict=True):
        expected = copy.deepcopy(begun[0])
        mask.apply_(expected)
        assert same_bits(seen, expected)
    whole = Watching(after=3 / 10)
    ticketkit.fit(
        copy.deepcopy(dense),
        pictures(50),
        schedule=FIT,
        seed=seed_of(0, "once-1"),
        robustifier=whole,
    )
    masks[0].apply_(whole.seen[0])
    assert same_bits(begun[0], whole.seen[0])


def test_one_round_trains_nothing_even_with_late_rewinding() -> None:
    told: list[object] = []
    draw(Named(), sparsity=0.2, strategy="imp:rewind=3", report=told.append)
    assert [event["event"] for event in told] == ["round"]  # type: ignore[index]


def test_rewinding_to_the_end_of_a_training_is_refused() -> None:
    with pytest.raises(ticketkit.UsageError, match="10 steps cannot end early after 10"):
        draw(Named(), sparsity=0.5, strategy="imp:rewind=10")


def test_with_a_robustifier_it_is_adversarial() -> None:
    dense = Named()
    natural = draw(dense, sparsity=0.7)
    robust = draw(dense, sparsity=0.7, robustifier="pgd:norm=l2,eps=2,steps=2")
    assert natural.mask != robust.mask
    assert natural.provenance.robustifier is None
    assert (robust.provenance.robustifier or "").startswith("pgd:norm=l2,eps=2.0")


def test_a_sparsity_of_one_cut_is_one_shot_pruning() -> None:
    dense = Named()
    once = ticketkit.draw(dense, scheme="unstructured", sparsity=0.2)
    assert draw(dense, sparsity=0.2).mask == once.mask


def test_sparsity_zero_keeps_all() -> None:
    with pytest.warns(UserWarning, match="keeps every weight"):
        assert draw(Named(), sparsity=0).mask.sparsity == 0


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, math.nan])
def test_a_rate_without_meaning_is_refused(rate: float) -> None:
    with pytest.raises(ticketkit.UsageError, match="rate is a share between 0 and 1"):
        Imp(rate=rate)


def test_a_scheme_of_one_sparsity_is_refused_before_any_work() -> None:
    with pytest.raises(ticketkit.UsageError, match="scheme nm has one sparsity"):
        draw(Named(), scheme="nm", sparsity=None, data=object())
