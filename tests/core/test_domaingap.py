"""The work behind `gap`, on tasks that no plugin offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save_file

import ticketkit
from tests.core.inception import save_inception
from ticketkit.domaingap import Gap, gap
from ticketkit.networks import network_of


class Noise(ticketkit.Task):
    """Random pictures of three channels."""

    name, classes, channels, seed = "noise", 2, 3, 0

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.Pictures]:
        """Twelve pictures to train on, and eight others."""
        generator = torch.Generator().manual_seed(self.seed)
        images = torch.randint(256, (20, self.channels, 8, 8), generator=generator).byte()
        targets = torch.arange(20) % 2
        return {
            "train": ticketkit.Pictures(images[:12], targets[:12]),
            "test": ticketkit.Pictures(images[12:], targets[12:]),
        }


class Grey(Noise):
    """Of one channel."""

    name, channels = "grey", 1


class Alpha(Noise):
    """Of four channels."""

    name, channels = "alpha", 4


class Fetched(Noise):
    """Data that is there once it has been fetched."""

    name, seed = "fetched", 1
    there: ClassVar[list[Path | None]] = []

    def splits(self, root: Path | None) -> Mapping[str, ticketkit.Pictures]:
        """Nothing, before."""
        if not self.there:
            raise ticketkit.InputError("it is not there")
        return super().splits(root)

    def download(self, root: Path | None) -> None:
        """Remember where to."""
        self.there.append(root)


def spec(task: type[ticketkit.Task]) -> str:
    """By which a task of this file is found."""
    return f"{__name__}:{task.__name__}"


@pytest.fixture
def network(tmp_path: Path) -> Iterator[str]:
    """The extractor of a network that takes pictures of three channels."""
    path = tmp_path / "r.safetensors"
    save_file(network_of("resnet10:width=4", 7, 3, 0).state_dict(), path)
    yield f"network:path={path},arch=resnet10:width=4"
    Fetched.there.clear()


# Fault row 45
@pytest.mark.parametrize(("task", "channels"), [(Grey, 1), (Alpha, 4)])
def test_pictures_of_other_channels_are_refused(
    task: type[Noise], channels: int, network: str, tmp_path: Path
) -> None:
    inception = f"inception:path={save_inception(tmp_path / 'i.pth')}"
    for extractor in (inception, network):
        name = extractor.partition(":")[0]
        message = f"extractor {name} takes pictures of 3 .* those of {task.name} have {channels}"
        with pytest.raises(ticketkit.InputError, match=message):
            gap(Gap(source=spec(Noise), task=spec(task), extractor=extractor))
    message = f"extractor inception takes pictures of 3 .* those of {task.name} have {channels}"
    with pytest.raises(ticketkit.InputError, match=message):
        gap(Gap(source=spec(task), task=spec(Noise), extractor=inception))


def test_the_data_of_either_is_fetched_where_it_is_asked_for(network: str, tmp_path: Path) -> None:
    for source, task in ((Noise, Fetched), (Fetched, Noise)):
        request = {"source": spec(source), "task": spec(task), "extractor": network}
        with pytest.raises(ticketkit.InputError, match="it is not there"):
            gap(Gap(**request))  # type: ignore[arg-type]
        found = gap(Gap(**request, data=tmp_path, download=True))  # type: ignore[arg-type]
        assert Fetched.there == [tmp_path]
        assert (found["source"]["n"], found["task"]["n"]) == (12, 20)
        Fetched.there.clear()


def test_few_pictures_are_noted_of_both(network: str) -> None:
    Fetched.there.append(None)
    found = gap(Gap(source=spec(Noise), task=spec(Fetched), extractor=network))
    assert found["extractor"]["features"] == 32
    assert found["notes"] == [
        "noise has 12 training pictures, fewer than the 8,000 asked for",
        "noise: 12 samples of 32 features: the covariance has rank 11 at most, and the distance "
        "comes out too large",
        "fetched: 20 samples of 32 features: the covariance has rank 19 at most, and the distance "
        "comes out too large",
    ]
