"""Networks with random weights, from a spec."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision

import ticketkit
from tests.core.test_architectures import MODULE
from ticketkit.networks import is_segmenter, network_of, segmenter_of

SPECS = [
    "resnet18",
    "resnet10:width=4,stem=small",
    "fcn_resnet10:width=4,stem=small",
    "deeplabv3_mobilenet_v3_large",
    "squeezenet1_1",
    "timm:resnet10t:in_chans=1",
    "torchvision.models:mobilenet_v3_small:num_classes=4",
]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_networks.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)


@pytest.mark.parametrize("spec", SPECS)
def test_it_tells_the_classes_of_pictures_of_one_channel(spec: str) -> None:
    model = network_of(spec, 5, 1)
    pictures = torch.rand(2, 1, 64, 64)
    expected = (2, 5, 64, 64) if is_segmenter(spec) else (2, 5)
    for same in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for mode in (True, False):
            assert same.train(mode)(pictures).shape == expected
    assert torch.equal(
        model.eval()(pictures), same.load_state_dict(model.state_dict()) and same(pictures)
    )


@pytest.mark.slow
def test_hooks_leave_a_compiled_network_in_one_graph() -> None:
    model = network_of("deeplabv3_mobilenet_v3_large", 4, 1).eval()
    ticketkit.normalised(model, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    pictures = torch.rand(1, 1, 32, 32)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(compiled(pictures), model(pictures))


@pytest.mark.parametrize("spec", SPECS)
def test_its_weights_are_a_function_of_the_seed_alone(spec: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = network_of(spec, 5, 1, seed=2).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    second = network_of(spec, 5, 1, seed=2).state_dict()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    other = network_of(spec, 5, 1, seed=3).state_dict()
    assert not all(torch.equal(tensor, other[name]) for name, tensor in first.items())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "fcn_resnet50"])
def test_torchvisions_are_torchvisions_own(name: str) -> None:
    options = {"weights_backbone": None} if name.startswith("fcn") else {}
    torch.manual_seed(4)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=6, **options).eval()
    ours = network_of(name, 6, seed=4).eval()
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[n]) for n, tensor in ours.state_dict().items())
    pictures = torch.rand(1, 3, 64, 64)
    output = theirs(pictures)
    assert torch.equal(ours(pictures), output["out"] if is_segmenter(name) else output)


def test_by_default_ours_are_torchvisions_in_bits_and_outputs() -> None:
    one = network_of("resnet18", 6, seed=4).eval()
    two = network_of("resnet18:width=64,stem=imagenet", 6, seed=4).eval()
    pictures = torch.rand(2, 3, 64, 64)
    assert torch.equal(one(pictures), two(pictures))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_logits_are_left_out(name: str) -> None:
    model = network_of(name, 3, 1)
    assert model(torch.rand(2, 1, 128 if name == "googlenet" else 299, 299)).shape == (2, 3)


def test_timms_are_timms_own() -> None:
    torch.manual_seed(4)
    theirs = timm.create_model("resnet10t", pretrained=False, num_classes=6, in_chans=2).eval()
    pictures = torch.rand(1, 2, 64, 64)
    assert torch.equal(
        network_of("timm:resnet10t:in_chans=2", 6, 2, 4).eval()(pictures), theirs(pictures)
    )


@pytest.mark.usefixtures("module")
def test_a_callables_head_is_replaced_from_the_seed() -> None:
    built = [network_of("my_networks:exact", 9, seed=seed) for seed in (1, 1, 2)]
    one, same, other = (model.get_parameter("fc.weight") for model in built)
    assert one.shape == (9, 4)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_networks:fails", "'my_networks:fails' failed to build: KeyError: 'no such thing'"),
        ("my_networks:exits", "'my_networks:exits' failed to build: SystemExit: 3"),
        ("my_networks:other", "returned a str"),
        ("timm:resnet18:colour=red", "failed to build: TypeError: .*'colour'"),
        ("timm:resnet18.nothing", "failed to build: RuntimeError"),
        ("vgg11", "vgg11 takes pictures of 3 channels, and these have 4"),
    ],
)
def test_what_fails_to_build_is_a_usage_error_that_names_it(spec: str, message: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=message):
        network_of(spec, 3, 4)


@pytest.mark.usefixtures("module")
def test_a_callable_without_a_head_by_name_is_refused() -> None:
    with pytest.raises(ticketkit.InputError, match="lazy layer"):
        network_of("my_networks:plain", 3)
    with pytest.raises(ticketkit.UsageError, match="no task head by its name"):
        network_of("torch.nn:Linear:in_features=3,out_features=2", 3)


@pytest.mark.parametrize(("classes", "channels"), [(0, 3), (2, 0), (2.5, 3), (2, None)])
def test_classes_and_channels_are_whole_numbers(classes: int, channels: int) -> None:
    with pytest.raises(ticketkit.UsageError, match="is a whole number of 1 or more"):
        network_of("resnet10", classes, channels)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("resnet10", "fcn_resnet10"),
        ("resnet18", "fcn_resnet18"),
        ("resnet50", "deeplabv3_resnet50"),
        ("resnet50:width=16", "fcn_resnet50:width=16"),
        ("resnet10:width=16,stem=small", "fcn_resnet10:width=16,stem=small"),
        ("resnet101", "deeplabv3_resnet101"),
        ("mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"),
        ("fcn_resnet50", "fcn_resnet50"),
    ],
)
def test_a_classifier_has_a_segmenter(spec: str, expected: str) -> None:
    assert segmenter_of(spec) == expected
    assert is_segmenter(expected)
    if spec != expected:
        assert is_segmenter(spec) is False


@pytest.mark.parametrize("spec", ["vgg16", "timm:resnet18", "my.module:network"])
def test_others_have_none(spec: str) -> None:
    with pytest.raises(ticketkit.UsageError, match="give one with --arch"):
        segmenter_of(spec)


def test_a_callable_alone_cannot_be_told() -> None:
    assert is_segmenter("my.module:network") is None
    assert is_segmenter("timm:resnet18") is False
