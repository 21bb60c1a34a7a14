"""`--prior`: the file that a prior chooses, in `prune` and `transfer`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Cli
from tests.samples import names
from ticketkit.networks import network_of
from ticketkit.normalising import normalisation_of
from ticketkit.opening import network_for

ARCH = "resnet10:width=16,stem=small"
NAME = "resnet10_l2_eps3.ckpt"
TASK = ("--task", "digits:labels=50,size=16", "--arch", ARCH)
MEAN, STD = 0.25, 0.5


@pytest.fixture
def priors(folder: Path) -> Path:
    """A folder with one network, in the form in which the robustness library saves it."""
    (folder / "priors").mkdir()
    publish(folder / "priors" / NAME)
    return folder / "priors"


def publish(path: Path, *, normalised: bool = True) -> None:
    state = network_of(ARCH, 1000, channels=1).state_dict()
    model = {f"module.model.{name}": tensor for name, tensor in state.items()}
    model |= {f"module.attacker.model.{name}": tensor for name, tensor in state.items()}
    if normalised:
        for where in ("module.normalizer", "module.attacker.normalize"):
            model[f"{where}.new_mean"] = torch.full((1, 1, 1), MEAN)
            model[f"{where}.new_std"] = torch.full((1, 1, 1), STD)
    beside: dict[str, object] = {"optimizer": {"state": {}}, "schedule": None, "epoch": 90}
    torch.save({"model": model, **beside}, path)


PRIOR = ("--prior", "salman:path=priors,eps=3")


def test_a_ticket_is_drawn_and_transferred(priors: Path, cli: Cli, folder: Path) -> None:
    drawn = cli("prune", *PRIOR, *TASK, "--sparsity", 0.8)
    assert drawn.status == 0, drawn.err
    assert "resnet10_l2_eps3.pruned.ckpt" in names(folder)
    assert f"note: prior salman:path=priors,norm=l2,eps=3.0: {NAME}: l2, eps 3" in drawn.err
    done = cli(
        *("transfer", "resnet10_l2_eps3.ticket.safetensors", *PRIOR, *TASK),
        *("--attack", "steps=1", "--json"),
    )
    assert done.status == 0, done.err
    document = done.document
    assert document["prior"] == {
        "prior": "salman:path=priors,norm=l2,eps=3.0",
        "path": f"priors/{NAME}",
        "why": "l2, eps 3, as asked for",
    }
    assert document["transfer"]["normalisation"] == {"mean": [MEAN], "std": [STD]}
    assert document["revived"] == 0


def test_the_normalisation_is_the_files_own(priors: Path) -> None:
    from ticketkit.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(priors / NAME)
    model = network_for(checkpoint, ARCH, 10, 1, skip_head=True).model
    assert normalisation_of(model) == {"mean": (MEAN,), "std": (STD,)}


def test_a_file_that_tells_none_is_noted(priors: Path, cli: Cli) -> None:
    publish(priors / NAME, normalised=False)
    drawn = cli("prune", *PRIOR, *TASK, "--sparsity", 0.8)
    assert drawn.status == 0
    assert "note: the file tells no normalisation of the network's inputs" in drawn.err


def test_json_tells_what_was_chosen(priors: Path, cli: Cli) -> None:
    document = cli("prune", *PRIOR, *TASK, "--sparsity", 0.8, "--json").document
    assert document["prior"]["path"] == f"priors/{NAME}"
    assert document["input"]["path"] == f"priors/{NAME}"
    assert document["provenance"]["task"] is None


def test_a_strategy_that_trains_trains_what_was_chosen(priors: Path, cli: Cli) -> None:
    words = ("--strategy", "imp:rate=0.5", "--fit", "small:epochs=1", "--sparsity", 0.7)
    done = cli("prune", *PRIOR, *TASK, *words, "--json")
    assert done.status == 0, done.err
    assert done.document["training"]["head"] == "new"
    assert done.document["prior"]["path"] == f"priors/{NAME}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "one of FILE and --prior is needed"),
        ((f"priors/{NAME}", *PRIOR, *TASK), "one of FILE and --prior is needed, not both"),
        ((f"priors/{NAME}", "--mode", "linear"), "--mode is for --prior"),
        (PRIOR, "give --task and --arch"),
        ((*PRIOR, "--task", "digits"), "give --task and --arch"),
        ((*PRIOR, *TASK, "--mode", "whole"), "mode is one of finetune, linear"),
        (("--prior", "salman", *TASK), "path"),
        (("--prior", "salmon:path=x", *TASK), "did you mean 'salman'?"),
        (("--prior", "salman:path=priors", *TASK), "give eps="),
        (("--prior", "salman:path=priors,eps=3", "--task", "digit", "--arch", "x"), "unknown task"),
    ],
)
def test_what_has_no_meaning_is_refused(
    arguments: tuple[str, ...], words: str, priors: Path, cli: Cli, folder: Path
) -> None:
    refused = cli("prune", *arguments, "--sparsity", 0.5)
    assert refused.status == 2, refused.err
    assert words in refused.err
    assert names(folder) == ["priors"]


def test_a_missing_file_is_an_input_refused(priors: Path, cli: Cli) -> None:
    words = ("--prior", "salman:path=priors,eps=1", *TASK)
    refused = cli("prune", *words, "--sparsity", 0.5)
    assert refused.status == 3
    assert refused.err.startswith("error: no resnet10_l2_eps1.ckpt in the folder priors")
    assert NAME in refused.err
    assert cli("transfer", "t.safetensors", *words).status == 3


def test_a_file_with_code_in_it_is_refused_as_ever(priors: Path, cli: Cli) -> None:
    torch.save({"model": {"a": print}}, priors / NAME)
    refused = cli("prune", *PRIOR, *TASK, "--sparsity", 0.5)
    assert refused.status == 3
    assert "print" in refused.err
