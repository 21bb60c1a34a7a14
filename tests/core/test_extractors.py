"""What makes features: against torch-fidelity's own network, and against linear evaluation's."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch_fidelity import FeatureExtractorInceptionV3

import ticketkit
from tests.core.inception import save_inception
from tests.samples import check_message
from ticketkit.extractors import Extractor, extractor_of, spec_of_extractor
from ticketkit.files import reserve
from ticketkit.inception import PUBLISHED, WEIGHTS
from ticketkit.inference import evaluated, forward
from ticketkit.linear_probe import extract
from ticketkit.networks import network_of
from ticketkit.normalising import normalised
from ticketkit.pretrained import Pretraining
from ticketkit.saving import save_checkpoint

ARCH = "resnet10:width=8,stem=small"
NORMALISATION = {"mean": (0.4,), "std": (0.3,)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the Inception's weights, at random."""
    return save_inception(tmp_path_factory.mktemp("inception") / WEIGHTS)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A pretrained network of ours, of 62 classes and grey pictures."""
    path = tmp_path / "m.safetensors"
    told = Pretraining(
        arch=ARCH,
        classes=62,
        channels=1,
        task="glyphs",
        fit="small",
        seed=0,
        normalisation=NORMALISATION,
    )
    with reserve(path) as output:
        save_checkpoint(output, network_of(ARCH, 62, 1, 3).state_dict(), told)
    return path


def features(found: Extractor, pictures: torch.Tensor) -> torch.Tensor:
    """What an extractor makes of pictures."""
    with evaluated(found.network):
        return forward(found.network, pictures, 0)


def test_the_inception_is_torch_fidelitys_bit_for_bit(weights: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (1, 3, 40, 30), generator=generator).byte()
    found = extractor_of(f"inception:path={weights}").opened(3)
    with torch.no_grad():
        expected = FeatureExtractorInceptionV3("i", ["2048"], str(weights))(pictures)[0]
    assert expected.shape == (1, 2048)
    assert expected.std() > 1e-3
    for given in (pictures, pictures / 255):
        assert torch.equal(features(found, given), expected)
    assert found.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest() != PUBLISHED
    assert not found.published
    assert not any(p.requires_grad for p in found.network.parameters())


def test_the_weights_may_come_in_another_form(weights: Path, tmp_path: Path) -> None:
    tensors = torch.load(weights, weights_only=True)
    save_file(tensors, tmp_path / "i.safetensors")
    counters = [name for name in tensors if name.endswith("num_batches_tracked")]
    older = {name: tensor for name, tensor in tensors.items() if name not in counters}
    torch.save({"state_dict": older}, tmp_path / "i.pt")
    for name in ("i.safetensors", "i.pt"):
        found = extractor_of(f"inception:path={tmp_path / name}").opened(3).network.state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
        assert len(found) == len(tensors) == 566


def test_a_network_gives_what_its_head_is_given(checkpoint: Path) -> None:
    pictures = torch.rand(3, 1, 8, 8)
    found = extractor_of(f"network:path={checkpoint}").opened(1)
    model = normalised(network_of(ARCH, 62, 1, 3), **NORMALISATION)
    expected, _ = extract(model, "fc", [(pictures, torch.zeros(3))])
    assert torch.equal(features(found, pictures), expected)
    assert found.sha256 == ticketkit.open_checkpoint(checkpoint).digest()
    assert found.about == f"{ARCH}, what its head fc is given"
    assert found.resize == "none"


def test_a_network_may_see_pictures_in_one_size(checkpoint: Path) -> None:
    found = extractor_of(f"network:path={checkpoint},size=8").opened(1)
    plain = extractor_of(f"network:path={checkpoint}").opened(1)
    pictures = torch.rand(2, 1, 8, 8)
    assert torch.equal(features(found, pictures), features(plain, pictures))
    flat = torch.full((1, 1, 8, 8), 0.7)
    larger = features(found, torch.full((1, 1, 23, 31), 0.7))
    torch.testing.assert_close(larger, features(plain, flat), rtol=1e-5, atol=1e-5)
    assert found.resize == "to 8 x 8, bilinear"


def test_a_file_that_tells_no_architecture_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "r.safetensors"
    save_file(network_of("resnet10", 7, 3, 0).state_dict(), path)
    assert extractor_of(f"network:path={path},arch=resnet10").opened(3).about.startswith("resnet10")
    with pytest.raises(ticketkit.UsageError, match=r"does not tell what network .* arch=resnet50"):
        extractor_of(f"network:path={path}").opened(3)


def test_specs_write_every_option_out() -> None:
    assert spec_of_extractor(extractor_of("inception")) == "inception:path=none"
    given = extractor_of("network:size=9,path=a/b.pt")
    assert spec_of_extractor(given) == "network:path=a/b.pt,arch=none,size=9"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("incepton", r"unknown extractor 'incepton'; choose from inception, network; did you mean"),
        ("", r"unknown extractor ''"),
        ("inception:weights=x", r"no option 'weights'; it has path"),
        ("network", r"path=FILE names a checkpoint, found none"),
        ("network:path=x,size=0", r"size is a number of pixels, found 0"),
        ("network:path=x,size=big", r"size is a whole number"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=message) as error:
        extractor_of(spec)
    check_message(error.value)


# Fault row 45
def test_missing_weights_are_told_with_the_place_where_they_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = tmp_path / "torch/hub/checkpoints" / WEIGHTS
    with pytest.raises(
        ticketkit.InputError, match=f"{re.escape(str(place))}: no such file"
    ) as error:
        extractor_of("inception").check()
    check_message(error.value)
    assert "--extractor inception:path=FILE" in str(error.value)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "other"))
    with pytest.raises(ticketkit.InputError, match="/other/hub/checkpoints/"):
        extractor_of("inception").check()
    with pytest.raises(ticketkit.InputError, match="nothing: no such file"):
        extractor_of("network:path=nothing").check()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a folder, where a file was expected"),
        (b"", "empty file"),
        (b"<!DOCTYPE html>", "an HTML page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "i.pth"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ticketkit.InputError, match=message) as error:
        extractor_of(f"inception:path={path}").check()
    check_message(error.value)


def test_other_weights_are_refused(checkpoint: Path) -> None:
    with pytest.raises(
        ticketkit.MismatchError, match=r"not the weights of the FID's Inception: .*"
    ):
        extractor_of(f"inception:path={checkpoint}").opened(3)


def test_a_missing_extra_is_one_line(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "torch_fidelity"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    message = r"needs ticketkit\[fid\]: pip install 'ticketkit\[fid\]'"
    with pytest.raises(ticketkit.UsageError, match=message) as error:
        extractor_of(f"inception:path={weights}").check()
    check_message(error.value)
