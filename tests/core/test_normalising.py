"""Networks that normalise their own inputs."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import ticketkit
from ticketkit import normalised
from ticketkit.normalising import normalisation_of

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KNOWN = {"mean": MEAN, "std": STD}


def network(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4))


def pictures(channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 8, 8, generator=torch.Generator().manual_seed(1))


def expected() -> Any:
    return network()(torchvision.transforms.Normalize(MEAN, STD)(pictures()))


def test_it_normalises_as_torchvision_does_and_is_found_out_again() -> None:
    model = network()
    assert normalised(model, MEAN, STD) is model
    torch.testing.assert_close(model(pictures()), expected())
    assert normalisation_of(model) == KNOWN
    assert list(model.state_dict()) == list(network().state_dict())
    assert not [
        name for name, _ in model.named_buffers() if "mean" in name and "running" not in name
    ]


def test_copies_and_pickles_keep_it() -> None:
    model = normalised(network(), MEAN, STD)
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert normalisation_of(same) == KNOWN
        torch.testing.assert_close(same(pictures()), expected())


def test_a_compiled_network_keeps_it() -> None:
    compiled: Any = torch.compile(normalised(network(), MEAN, STD), backend="eager")
    torch.testing.assert_close(compiled(pictures()), expected())
    assert normalisation_of(compiled) == KNOWN
    assert normalisation_of(normalised(compiled)) == {}


def test_a_distributed_network_keeps_it(tmp_path: Path) -> None:
    meeting = f"file://{tmp_path}/meeting"
    torch.distributed.init_process_group("gloo", meeting, rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(normalised(network(), MEAN, STD))
        torch.testing.assert_close(wrapped(pictures()), expected())
        assert normalisation_of(wrapped) == KNOWN
    finally:
        torch.distributed.destroy_process_group()


def test_it_works_on_any_device_and_in_the_dtype_of_the_pictures() -> None:
    model = normalised(network().double(), MEAN, STD)
    assert model(pictures().double()).dtype == torch.float64
    assert model.to("meta")(pictures().double().to("meta")).device.type == "meta"
    assert normalisation_of(model) == KNOWN


def test_a_gradient_of_the_pictures_is_that_of_pixel_space() -> None:
    with torch.inference_mode():
        model = normalised(network().eval(), MEAN, STD)
        model(pictures())  # what was made here may be part of no gradient
    model = normalised(network().eval(), MEAN, STD)
    leaf = pictures().requires_grad_()
    (found,) = torch.autograd.grad(model(leaf).sum(), leaf)
    bare = torchvision.transforms.Normalize(MEAN, STD)(pictures()).requires_grad_()
    (through,) = torch.autograd.grad(network().eval()(bare).sum(), bare)
    torch.testing.assert_close(found, through / torch.tensor(STD)[:, None, None])


def test_what_was_said_before_is_replaced_and_nothing_takes_it_off() -> None:
    model = normalised(normalised(network(), (0.5,) * 3, (0.1,) * 3), MEAN, STD)
    torch.testing.assert_close(model(pictures()), expected())
    for nothing in ((), ((0, 0, 0), (1, 1, 1))):
        assert normalisation_of(normalised(normalised(model, MEAN, STD), *nothing)) == {}
        assert torch.equal(model(pictures()), network()(pictures()))


def test_other_hooks_stay() -> None:
    model, seen = network(), []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs)))
    normalised(normalised(model, MEAN, STD))(pictures())
    assert seen == [1]


def test_one_number_is_for_every_channel_and_grey_pictures_get_each() -> None:
    every = normalised(network(), (0.5,), (0.25,))
    torch.testing.assert_close(every(pictures()), network()((pictures() - 0.5) / 0.25))
    model = normalised(network(), MEAN, STD)
    grey = pictures(1)
    assert torch.equal(model(grey), model(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.5, 0.5), (0.5,)),
        ((0.5,), ()),
        ((), (0.5,)),
        ((0.5,) * 3, (0.5, 0.0, 0.5)),
        ((0.5,) * 3, (0.5, -1.0, 0.5)),
        ((math.nan,) * 3, (0.5,) * 3),
        ((0.5,) * 3, (math.inf,) * 3),
        ((0.5,) * 2, (0.5,) * 2),
    ],
)
def test_other_numbers_are_refused(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    model = network()
    with pytest.raises(ticketkit.UsageError, match="mean"):
        normalised(model, mean, std)
    assert normalisation_of(model) == {}


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(2, 2, 8, 8),
        torch.zeros(3),
        [[1.0]],
    ],
)
def test_what_are_no_pictures_is_refused(odd: Any) -> None:
    with pytest.raises(ticketkit.InputError, match=r"expected pictures|takes floating pictures"):
        normalised(network(), MEAN, STD)(odd)


def test_pictures_by_keyword_are_refused_and_not_passed_as_they_are() -> None:
    with pytest.raises(ticketkit.InputError, match="first argument"):
        normalised(network(), MEAN, STD)(input=pictures())


def test_a_draw_records_it() -> None:
    model = normalised(network(), MEAN, STD)
    ticket = ticketkit.draw(model, scheme="kernel", sparsity=0.5)
    assert ticket.provenance.normalisation == KNOWN
