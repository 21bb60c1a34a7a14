"""The checkpoint that a command works on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ticketkit
from tests.core.test_naming import AttackerModel
from ticketkit.networks import network_of
from ticketkit.normalising import normalisation_of
from ticketkit.opening import network_for
from ticketkit.priors import Source, source_of

ASKED: dict[str, Any] = {"task": "digits:labels=50", "arch": "resnet18", "mode": "linear"}
MODULE = f"{__name__}:"


class Odd(ticketkit.Prior):
    """Returns whatever its class says."""

    name = "odd"
    found: Any = None

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        return self.found


class NoChoice(Odd):
    found = Path("m.pt")


class NoPath(Odd):
    found = ticketkit.PriorChoice("m.pt", "why not")  # type: ignore[arg-type]


class NoStrength(Odd):
    found = ticketkit.PriorChoice(Path("m.pt"), "why not", float("nan"))


class Raises(Odd):
    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        raise KeyError(task)


class Answers(Odd):
    """Tells what it was asked."""

    def checkpoint(self, task: str | None, arch: str | None, mode: str) -> Any:
        return ticketkit.PriorChoice(Path(__file__), f"{task} {arch} {mode}", 0.0, ("Mind this.",))


def test_a_file_that_is_named_is_it() -> None:
    assert source_of(Path("m.pt"), None, **ASKED) == Source(Path("m.pt"), None)


@pytest.mark.parametrize(
    ("file", "prior", "found"), [(None, None, "neither"), (Path("m.pt"), "salman:path=m", "both")]
)
def test_it_is_either_named_or_chosen(file: Path | None, prior: str | None, found: str) -> None:
    message = f"give the checkpoint FILE, or a --prior that chooses it: found {found} of them"
    with pytest.raises(ticketkit.UsageError, match=message):
        source_of(file, prior, **ASKED)


def test_a_prior_is_asked_by_the_task_s_name_and_what_it_says_is_told() -> None:
    source = source_of(None, f"{MODULE}Answers", **{**ASKED, "arch": "resnet18:stem=small"})
    assert source.path == Path(__file__)
    assert source.prior == {
        "spec": f"{MODULE}Answers",
        "path": __file__,
        "eps": 0.0,
        "reason": "digits resnet18:stem=small linear",
        "notes": ["Mind this."],
    }
    untold = source_of(None, f"{MODULE}Answers", task=None, arch=None, mode="finetune")
    assert untold.prior is not None
    assert untold.prior["reason"] == "None None finetune"


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("Odd", r"must return a ticketkit\.PriorChoice, found NoneType"),
        ("NoChoice", r"must return a ticketkit\.PriorChoice, found PosixPath"),
        ("NoPath", "a choice is of a Path, for a reason in words"),
        ("NoStrength", "eps of a choice is None or a finite number of 0 or more: nan"),
        ("Raises", "KeyError: 'digits'"),
    ],
)
def test_a_prior_that_does_not_choose_is_blamed(part: str, told: str) -> None:
    with pytest.raises(ticketkit.PluginError, match=f"part 'odd' not registered failed: .*{told}"):
        source_of(None, MODULE + part, **ASKED)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mode": "both"}, "mode is one of finetune, linear; found 'both'"),
        ({"task": "digts"}, "unknown task 'digts'"),
        ({"task": "digits:labels=0"}, "labels is a whole number"),
    ],
)
def test_what_it_is_asked_for_is_checked_first(changed: dict[str, str], message: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=message):
        source_of(None, f"{MODULE}Raises", **{**ASKED, **changed})


# --- files that are not there


def missing(folder: Path, eps: str = "3") -> str:
    with pytest.raises(ticketkit.CheckpointError) as caught:
        source_of(None, f"salman:path={folder},eps={eps}", **ASKED)
    return str(caught.value)


def test_a_missing_file_is_named_and_so_are_those_there(tmp_path: Path) -> None:
    start = f"{tmp_path}: prior salman expects resnet18_l2_eps3.ckpt there, found "
    assert missing(tmp_path) == f"{start}nothing"
    for name in ("resnet18_l2_eps5.ckpt", "notes.txt"):
        (tmp_path / name).touch()
    assert missing(tmp_path) == (
        f"{start}notes.txt, resnet18_l2_eps5.ckpt; did you mean 'resnet18_l2_eps5.ckpt'?"
    )


def test_a_file_of_another_suffix_is_another(tmp_path: Path) -> None:
    (tmp_path / "resnet18_l2_eps3.pt").touch()
    assert missing(tmp_path).endswith("; did you mean 'resnet18_l2_eps3.pt'?")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    message = "{}: {}; prior salman expects resnet18_l2_eps3.ckpt there"
    assert missing(folder) == message.format(folder, "no such folder")
    folder.touch()
    assert missing(folder) == message.format(folder, "Not a directory")


def test_names_of_files_are_data(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\nb.ckpt").touch()
    assert r"found a\x1b[31m\nb.ckpt" in missing(tmp_path)


# --- the normalisation of the file is read, and never assumed

NETWORK = "resnet10:width=8,stem=small"


class Normalised(nn.Module):
    """The definition: (pictures - mean) / std before the network."""

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network, self.mean, self.std = network, torch.tensor(mean), torch.tensor(std)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        inputs = (pictures - self.mean[:, None, None]) / self.std[:, None, None]
        outputs: torch.Tensor = self.network(inputs)
        return outputs


def published(folder: Path, network: nn.Module, *, wrapped: bool = False) -> Path:
    """A checkpoint as their library saves it in training."""
    inner = nn.ModuleDict({"model": network}) if wrapped else network
    whole = nn.DataParallel(AttackerModel(inner))
    optimizer = torch.optim.SGD(whole.parameters(), 0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 30)
    path = folder / "resnet10_l2_eps3.ckpt"
    saved = {
        "model": whole.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "epoch": 90,
        "amp": None,
        "nat_prec1": torch.tensor(53.12),
    }
    torch.save(saved, path)
    return path


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_network_of_theirs_normalises_by_the_numbers_in_its_file(
    wrapped: bool, tmp_path: Path
) -> None:
    network = network_of(NETWORK, 10, 3, seed=5)
    published(tmp_path, network, wrapped=wrapped)
    source = source_of(None, f"salman:path={tmp_path},eps=3", **{**ASKED, "arch": NETWORK})
    opened = network_for(ticketkit.open_checkpoint(source.path), NETWORK, 10, 3)
    assert opened.loaded.notes() == []
    pictures = torch.rand(4, 3, 16, 16)
    expected = Normalised(network, [0.4, 0.5, 0.6], [0.25, 0.25, 0.3]).eval()
    torch.testing.assert_close(opened.model.eval()(pictures), expected(pictures))


def test_where_the_file_tells_no_normalisation_there_is_none(tmp_path: Path) -> None:
    network = network_of(NETWORK, 10, 3, seed=5)
    torch.save({"model": network.state_dict()}, tmp_path / "resnet10_l2_eps3.ckpt")
    source = source_of(None, f"salman:path={tmp_path},eps=3", **{**ASKED, "arch": NETWORK})
    opened = network_for(ticketkit.open_checkpoint(source.path), NETWORK, 10, 3)
    assert normalisation_of(opened.model) == {}
    pictures = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(opened.model.eval()(pictures), network.eval()(pictures))
