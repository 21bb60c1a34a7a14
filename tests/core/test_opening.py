"""A live network from a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ticketkit
from tests import samples
from tests.core.test_pretrained import TOLD
from ticketkit.files import reserve
from ticketkit.networks import network_of
from ticketkit.normalising import normalisation_of
from ticketkit.opening import arch_for, network_for
from ticketkit.saving import save_checkpoint

SPEC = "resnet10:width=4,stem=small"


def pretrained(
    folder: Path, arch: str = SPEC, channels: int = 1, classes: int = 5
) -> ticketkit.Checkpoint:
    """A checkpoint as `pretrain` writes it."""
    model = network_of(arch, classes, channels, seed=3)
    told = replace(TOLD, arch=arch, channels=channels, classes=classes)
    with reserve(folder / "w.safetensors") as output:
        save_checkpoint(output, model.state_dict(), told)
    return ticketkit.open_checkpoint(folder / "w.safetensors")


def test_the_file_tells_what_network_it_is_of(tmp_path: Path) -> None:
    source = pretrained(tmp_path)
    opened = network_for(source, None, 5, 1)
    assert opened.arch == SPEC
    assert opened.loaded.notes() == []
    assert normalisation_of(opened.model) == TOLD.normalisation
    pictures = torch.rand(2, 1, 16, 16)
    bare = network_of(SPEC, 5, 1, seed=3).eval()
    torch.testing.assert_close(opened.model.eval()(pictures), bare((pictures - 0.1) / 0.3))


def test_a_normalisation_that_does_not_fit_is_the_files_fault(tmp_path: Path) -> None:
    state = {f"model.{n}": t for n, t in network_of(SPEC, 5, 1).state_dict().items()}
    state["normalizer.new_mean"], state["normalizer.new_std"] = torch.zeros(1), torch.zeros(1)
    path = samples.save(state, tmp_path, "zip")
    with pytest.raises(ticketkit.CheckpointError, match="a std above 0"):
        network_for(ticketkit.open_checkpoint(path), SPEC, 5, 1)


def test_an_architecture_that_is_asked_for_overrides_it(tmp_path: Path) -> None:
    source = pretrained(tmp_path)
    assert arch_for(source, "resnet18", segmentation=False) == "resnet18"
    with pytest.raises(ticketkit.MismatchError):
        network_for(source, "resnet18", 5, 1)


def test_a_file_that_does_not_tell_needs_arch(tmp_path: Path) -> None:
    path = samples.save(network_of(SPEC, 5, 1).state_dict(), tmp_path, "zip")
    source = ticketkit.open_checkpoint(path)
    with pytest.raises(ticketkit.UsageError, match=r"does not tell what network .* --arch"):
        network_for(source, None, 5, 1)
    opened = network_for(source, SPEC, 5, 1)
    assert (opened.arch, normalisation_of(opened.model)) == (SPEC, {})


def test_the_head_is_that_of_the_file_or_new_from_the_seed(tmp_path: Path) -> None:
    source = pretrained(tmp_path)
    with pytest.raises(ticketkit.MismatchError, match="for 5 classes, the network's for 10"):
        network_for(source, None, 10, 1)
    heads = [
        network_for(source, None, 10, 1, seed, skip_head=True).model.get_parameter("fc.weight")
        for seed in (1, 1, 2)
    ]
    assert heads[0].shape == (10, 32)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.mark.parametrize("arch", [SPEC, "resnet18"])
def test_grey_pictures_are_taken_by_a_network_of_three_channels(arch: str, tmp_path: Path) -> None:
    source = pretrained(tmp_path, arch, channels=3)
    for segmentation in (False, True):
        opened = network_for(source, None, 5, 1, segmentation=segmentation, skip_head=True)
        assert opened.model(torch.rand(2, 1, 32, 32)).shape[:2] == (2, 5)


def test_a_network_of_one_channel_takes_no_coloured_pictures(tmp_path: Path) -> None:
    with pytest.raises(
        ticketkit.UsageError, match="takes pictures of 1 channels, and these have 3"
    ):
        network_for(pretrained(tmp_path), None, 5, 3)


def test_segmentation_makes_a_classifier_the_backbone_of_its_segmenter(tmp_path: Path) -> None:
    source = pretrained(tmp_path)
    opened = network_for(source, None, 4, 1, segmentation=True, skip_head=True)
    assert opened.arch == f"fcn_{SPEC}"
    assert opened.model(torch.rand(2, 1, 16, 16)).shape == (2, 4, 16, 16)
    weight = opened.model.get_parameter("backbone.conv1.weight")
    assert torch.equal(weight, source["conv1.weight"])
    assert (
        network_for(source, f"fcn_{SPEC}", 4, 1, segmentation=True, skip_head=True).arch
        == opened.arch
    )


def test_a_segmenter_is_for_segmentation_alone(tmp_path: Path) -> None:
    with pytest.raises(ticketkit.UsageError, match="is a segmenter, and the task is none"):
        network_for(pretrained(tmp_path), f"fcn_{SPEC}", 4, 1)


def test_a_draw_from_the_network_has_the_digest_and_provenance_of_the_file(tmp_path: Path) -> None:
    source = pretrained(tmp_path)
    model = network_for(source, None, 5, 1).model
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.rand(8, 1, 16, 16, generator=generator), torch.arange(8) % 5)] * 2
    options = {"scheme": "unstructured", "sparsity": 0.9}
    drawn = ticketkit.draw(model, criterion="taylor", batches=batches, digest=True, **options)  # type: ignore[arg-type]
    assert drawn.provenance.source == source.digest()
    drawn.check_source(source.digest())
    live = ticketkit.draw(model, digest=True, **options)  # type: ignore[arg-type]
    assert live == ticketkit.draw(source, **options)  # type: ignore[arg-type]


def test_metadata_that_is_garbled_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with reserve(path) as output:
        save_checkpoint(output, {"fc.weight": torch.ones(2, 2)}, replace(TOLD, arch=3))  # type: ignore[arg-type]
    with pytest.raises(ticketkit.CheckpointError, match="arch: expected text"):
        network_for(ticketkit.open_checkpoint(path), None, 2)
