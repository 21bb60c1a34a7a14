"""Specs of networks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import ticketkit
from tests import samples
from ticketkit.architectures import (
    OfCallable,
    OfTimm,
    OfTorchvision,
    OurResNet,
    architecture_of,
    of_torchvision,
)
from ticketkit.resnets import ResNetOptions


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("resnet18", OfTorchvision("resnet18", False)),
        ("resnet18:", OfTorchvision("resnet18", False)),
        ("vgg16", OfTorchvision("vgg16", False)),
        ("fcn_resnet50", OfTorchvision("fcn_resnet50", True)),
        ("deeplabv3_resnet101", OfTorchvision("deeplabv3_resnet101", True)),
        ("resnet10", OurResNet("resnet10", ResNetOptions())),
        ("resnet18:stem=small", OurResNet("resnet18", ResNetOptions(64, "small"))),
        ("fcn_resnet18", OurResNet("fcn_resnet18", ResNetOptions())),
        ("fcn_resnet50:width=8", OurResNet("fcn_resnet50", ResNetOptions(8))),
        (
            "timm:resnet18:in_chans=1,drop_rate=0.1",
            OfTimm("resnet18", {"in_chans": 1, "drop_rate": 0.1}),
        ),
        ("timm:resnet18.a1_in1k", OfTimm("resnet18.a1_in1k", {})),
        ("my.module:network", OfCallable("my.module", "network", {})),
        (
            "my.module:network:deep=true,name=x,scale=1/4",
            OfCallable("my.module", "network", {"deep": True, "name": "x", "scale": 0.25}),
        ),
    ],
)
def test_a_spec_means_one_network(spec: str, expected: object) -> None:
    assert architecture_of(spec) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "resnet19",
            r"unknown network 'resnet19'; did you mean 'resnet18' or 'resnet\d+' or 'resnet\d+'\?",
        ),
        ("fcn_resnet19", "'fcn_resnet18'"),
        ("efficientnetv2_rw_s", "'timm:efficientnetv2_rw_s'"),
        ("timm:vit_tiny_patch16_225", "of timm; did you mean 'vit_tiny_patch16_224'"),
        ("timm:hf-hub:some/model", "expected key=value"),
        ("timm:", "unknown network '' of timm"),
        ("", "unknown network ''"),
        ("resnet18:width=wide", "width is a whole number"),
        ("resnet18:widht=3", r"no option 'widht'; it has width, stem; did you mean 'width'\?"),
        ("resnet18:stem=big", "stem is one of imagenet, small, found 'big'"),
        ("resnet18:width=0", "width is 1 or more"),
        ("resnet18:small", "expected key=value, found 'small'"),
        ("vgg16:width=3", "vgg16 is torchvision's, without options"),
        ("fasterrcnn_resnet50_fpn", "unknown network"),
        ("timm:resnet18:pretrained=true", "pretrained is not to be chosen"),
        ("timm:resnet18:num_classes=3", "num_classes is not to be chosen"),
        ("timm:resnet18:checkpoint_path=x.pt", "checkpoint_path is not to be chosen"),
        ("module:callable:x", "expected key=value"),
        ("bad\x1bname", r"\\x1b"),
    ],
)
def test_what_means_none_is_refused_with_what_there_is(spec: str, message: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=message) as caught:
        architecture_of(spec)
    samples.check_message(caught.value)
    assert caught.value.exit_status == 2


def test_a_spec_is_text() -> None:
    with pytest.raises(ticketkit.UsageError, match="spec such as 'resnet50'"):
        architecture_of(torch.nn.Linear)  # type: ignore[arg-type]


def test_without_timm_its_extra_is_named_and_others_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ticketkit.UsageError, match=r"needs ticketkit\[timm\]: pip install 'ticketkit\[timm\]'"
    ):
        architecture_of("timm:resnet18")
    with pytest.raises(ticketkit.UsageError, match="did you mean 'resnet18'"):
        architecture_of("resnet19")


@given(st.integers(1, 10**6), st.sampled_from(["imagenet", "small"]), st.sampled_from(["", "fcn_"]))
def test_options_are_read_in_any_order(width: int, stem: str, prefix: str) -> None:
    one = architecture_of(f"{prefix}resnet34:width={width},stem={stem}")
    assert one == architecture_of(f"{prefix}resnet34:stem={stem}, width={width}")
    assert isinstance(one, OurResNet)
    assert (one.options.width, one.options.stem) == (width, stem)
    assert one.segmenter == bool(prefix)


@given(st.text(max_size=12), st.text(max_size=12))
def test_no_other_option_is_passed_over(name: str, value: str) -> None:
    assume(name.strip() not in ("", "width", "stem"))
    with pytest.raises(ticketkit.UsageError) as caught:
        architecture_of(f"resnet18:width=3,{name}={value}")
    assert "\n" not in str(caught.value)


MODULE = """
from torch import nn

def plain(width=4, **more):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.LazyLinear(2))

def exact(width=4):
    return nn.ModuleDict({"conv": nn.Conv2d(3, width, 3), "fc": nn.Linear(width, 2)})

def fails():
    raise KeyError("no such thing")

def exits():
    raise SystemExit(3)

def other():
    return "a network"

number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_networks.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "my_broken.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_networks", "my_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "my_networks"


def test_a_callable_gets_its_options_alone(module: str) -> None:
    built = architecture_of(f"{module}:exact:width=6").build(9, 1)
    assert built.get_parameter("fc.weight").shape == (2, 6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_networks:exact:depth=1", "my_networks:exact: no option 'depth'; it has width"),
        ("my_networks:fails:a=1", "it has none"),
        ("my_networks:nothing", "no network at my_networks:nothing: AttributeError"),
        ("my_networks:number", "my_networks:number is not callable"),
        ("my_networks:other", "my_networks:other returned a str"),
        ("my_broken:network", "no network at my_broken:network: ZeroDivisionError"),
        ("no_such_module:network", "no network at no_such_module:network: ModuleNotFoundError"),
    ],
)
def test_a_callable_that_is_none_is_refused(module: str, spec: str, message: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=message) as caught:
        architecture_of(spec).build(2, 3)
    samples.check_message(caught.value)


def test_torchvisions_names_are_classifiers_and_segmenters_and_no_others() -> None:
    classifiers, segmenters = of_torchvision()
    assert {"resnet50", "vgg16", "vit_b_16"} <= classifiers
    assert {"fcn_resnet50", "deeplabv3_resnet50"} <= segmenters
    assert not {"raft_large", "r3d_18", "quantized_resnet18"} & (classifiers | segmenters)
