"""`--prior`, from a folder of published files to a ticket and its transfer."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

import ticketkit
from tests.cli.conftest import Cli, Result
from tests.core.test_priors import published
from tests.plugin_factory import entry_points, install
from tests.samples import names
from ticketkit.networks import network_of
from ticketkit.registry import build

NETWORK = "resnet10:width=8,stem=small"
FILE = "resnet10_l2_eps3.ckpt"
TASK, FIT = "digits:labels=50,size=8", "small:epochs=1"
EPS3 = "salman:path=models,eps=3"


@pytest.fixture
def models(folder: Path) -> Path:
    """A folder `models` with a file of theirs: of eps 3, of 5 classes."""
    (folder / "models").mkdir()
    published(folder / "models", network_of(NETWORK, 5, 3, seed=5))
    return folder / "models"


def prune(cli: Cli, prior: str, *options: object, arch: str = NETWORK) -> Result:
    return cli("prune", "--prior", prior, "--arch", arch, "--sparsity", 0.8, *options)


def transfer(cli: Cli, *options: object, prior: str = EPS3) -> Result:
    words = ("--task", TASK, "--mode", "finetune", "--fit", FIT, "--attack", "steps=1")
    network = ("--prior", prior, "--arch", NETWORK)
    return cli("transfer", "resnet10_l2_eps3.ticket.safetensors", *words, *network, *options)


NORMALISED = (
    "note: the network's inputs, in [0, 1], are normalised by the file's own mean (0.4, 0.5, 0.6), "
    "std (0.25, 0.25, 0.3)\n"
)


@pytest.mark.usefixtures("models")
def test_a_ticket_is_drawn_from_the_chosen_file_and_transferred_from_it(
    cli: Cli, folder: Path
) -> None:
    drawn = prune(cli, EPS3)
    assert drawn.status == 0, drawn.err
    lines = drawn.out.splitlines()
    assert lines[0] == "prior salman:path=models,norm=l2,eps=3.0"
    assert lines[1] == f"models/{FILE}: eps 3 in l2, as asked"
    assert lines[2].startswith(f"models/{FILE}: PyTorch (zip), entry 'model', ")
    assert NORMALISED in drawn.err
    stem = "resnet10_l2_eps3"
    assert names(folder) == ["models", f"{stem}.pruned.ckpt", f"{stem}.ticket.safetensors"]
    ticket = ticketkit.load_ticket(folder / f"{stem}.ticket.safetensors")
    source = ticketkit.open_checkpoint(folder / "models" / FILE)
    assert ticket.provenance.source == source.digest()
    assert ticket.provenance.task is None

    done = transfer(cli, "--run", "r")
    assert done.status == 0, done.err
    assert "prior salman:path=models,norm=l2,eps=3.0\n" in done.out
    assert f"models/{FILE}: eps 3 in l2, as asked\n" in done.out
    assert NORMALISED in done.err
    again = transfer(cli, "--run", "r", "--resume", "--json").document
    assert again["prior"] == {
        "spec": "salman:path=models,norm=l2,eps=3.0",
        "path": f"models/{FILE}",
        "eps": 3.0,
        "reason": "eps 3 in l2, as asked",
        "notes": [],
    }
    assert again["transfer"]["normalisation"]["mean"] == pytest.approx([0.4, 0.5, 0.6])
    assert again["revived"] == 0


@pytest.mark.usefixtures("models")
def test_a_prior_and_its_file_draw_the_same_ticket_and_transfer_the_same_way(
    cli: Cli, folder: Path
) -> None:
    chosen = prune(cli, EPS3, "--json").document
    path = folder / chosen["ticket"]
    data = path.read_bytes()
    named = cli("prune", f"models/{FILE}", "--sparsity", 0.8, "--force", "--json").document
    assert path.read_bytes() == data
    assert (named.pop("prior"), chosen.pop("prior")["path"]) == (None, f"models/{FILE}")
    assert named == chosen
    first = transfer(cli, "--json").document
    words = ("--task", TASK, "--mode", "finetune", "--fit", FIT, "--attack", "steps=1", "--json")
    ticket = chosen["ticket"]
    options = ("--arch", NETWORK, "--resume")
    again = cli("transfer", ticket, f"models/{FILE}", *words, *options).document
    assert again == {**first, "prior": None}  # one recipe: the same run


OFFERS = '''
import torch
import ticketkit

class Cars(ticketkit.Task):
    """A task under the name that the table has."""
    name = "cars"
    classes = 2
    def splits(self, root):
        pictures = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 3, 8, 8)
        whole = ticketkit.Pictures(pictures.clone(), torch.tensor([0, 1, 0, 1]))
        return {"train": whole, "test": whole}

@ticketkit.hookimpl
def ticketkit_tasks():
    yield Cars
'''


@pytest.fixture
def cars(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, models: Path
) -> None:
    """A task of the table, and files of the network that it has."""
    plugins = tmp_path_factory.mktemp("plugins")
    monkeypatch.syspath_prepend(str(plugins))
    if "cars" not in {offer.name for offer in ticketkit.catalogue().offers}:
        install(plugins, "dist-cars", "plug_prior_cars", OFFERS)
    catalogue = build(entry_points(plugins), {})
    for module in ("options", "blame"):
        monkeypatch.setattr(f"ticketkit.{module}.catalogue", lambda: catalogue)
    for eps in ("0", "0.01", "0.1"):
        os.link(models / FILE, models / f"resnet18_l2_eps{eps}.ckpt")


@pytest.mark.usefixtures("cars")
@pytest.mark.parametrize(
    ("options", "eps", "reason", "noted"),
    [
        ((), 0.1, r"eps 0\.1 in l2, for resnet18 on cars, linear, by Salman et al\. 2020", 0),
        (("--mode", "linear"), 0.1, r"eps 0\.1 in l2, for resnet18 on cars, linear, by .*", 0),
        (
            ("--mode", "finetune"),
            0.01,
            r"eps 0\.01 in l2, the least there is, for resnet18 on cars, finetune, by Salman",
            1,
        ),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_the_table_is_asked_for_the_task_and_the_mode(
    options: tuple[str, ...], eps: float, reason: str, noted: int, dry: tuple[str, ...], cli: Cli
) -> None:
    words = ("--task", "cars", *options, *dry)
    found = prune(cli, "salman:path=models", *words, arch="resnet18")
    assert found.status == 0, found.err
    assert re.search(rf"^models/resnet18_l2_eps{eps:g}\.ckpt: {reason}", found.out, re.M)
    note = "note: the best eps for resnet18 on cars, finetune is 0, so that robust = natural; "
    assert found.err.count(note) == noted
    asked = prune(cli, "salman:path=models", *words, "--force", "--json", arch="resnet18")
    assert asked.document["prior"]["eps"] == eps
    assert len(asked.document["prior"]["notes"]) == noted
    ticket = asked.document["ticket"]
    assert dry or ticketkit.load_ticket(ticket).provenance.task is None


@pytest.mark.usefixtures("models")
def test_a_criterion_that_looks_at_data_has_the_prior_s_task(cli: Cli, folder: Path) -> None:
    taylor = ("--criterion", "taylor", "--no-checkpoint", "--json")
    found = prune(cli, EPS3, "--task", "digits:labels=50,size=8", *taylor)
    assert found == Result(
        3, "", f"error: models/{FILE}: its head fc is for 5 classes, the network's for 10\n"
    )
    published(folder / "models", network_of(NETWORK, 10, 3, seed=5))
    ticket = prune(cli, EPS3, "--task", "digits:labels=50,size=8", *taylor).document["ticket"]
    task = ticketkit.load_ticket(ticket).provenance.task
    assert task is not None
    assert task.startswith("digits:size=8,labels=50,")


def test_a_file_that_tells_no_normalisation_is_noted(cli: Cli, models: Path) -> None:
    path = models / FILE
    torch.save({"model": network_of(NETWORK, 5, 3).state_dict()}, path)
    note = f"note: models/{FILE} tells no normalisation of the network's inputs: none is applied\n"
    for found in (prune(cli, EPS3), transfer(cli)):
        assert found.status == 0, found.err
        assert note in found.err
    quiet = cli("prune", f"models/{FILE}", "--sparsity", 0.5, "--force")
    assert "normalisation" not in quiet.err  # no network looks at data
    looks = ("--criterion", "taylor", "--task", "digits:labels=50,size=8", "--arch", NETWORK)
    torch.save(network_of(NETWORK, 10, 3).state_dict(), "mine.pt")
    told = cli("prune", "mine.pt", "--sparsity", 0.5, *looks)
    assert told.status == 0, told.err
    assert "note: mine.pt tells no normalisation of the network's inputs: none is" in told.err


# --- what is refused

PRUNE = ["--sparsity", "0.5", "--arch", "resnet10"]


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (PRUNE, 2, "give the checkpoint FILE, or a --prior that chooses it: found neither of them"),
        ([f"models/{FILE}", "--prior", EPS3, *PRUNE], 2, "give the .* found both of them"),
        ([f"models/{FILE}", "--sparsity", "0.5", "--mode", "linear"], 2, "--mode is for --prior, "),
        (["--prior", EPS3, "--mode", "all", *PRUNE], 2, "mode is one of finetune, linear; found "),
        (["--prior", "salman:path=models", *PRUNE], 2, "prior salman chooses eps by the downstrea"),
        (
            ["--prior", "salman:path=models", "--task", "digits", *PRUNE],
            2,
            "prior salman has no eps for task 'digits': its table has cifar10, cifar100, aircraft,",
        ),
        (["--prior", EPS3, "--task", "digts", *PRUNE], 2, "unknown task 'digts'; "),
        (["--prior", EPS3, "--sparsity", "0.5"], 2, "prior salman finds a file by the network: g"),
        (
            ["--prior", EPS3, "--data", "d", *PRUNE],
            2,
            "--arch, --data and --download are for --task, the data",
        ),
        (["--prior", "salmon:path=models", *PRUNE], 2, "unknown prior 'salmon'; "),
        (["--prior", "salman", *PRUNE], 2, "'salman' needs an option path="),
        (
            ["--prior", "salman:path=models,eps=1", *PRUNE],
            3,
            f"models: prior salman expects resnet10_l2_eps1.ckpt there, found {FILE}; did you mea",
        ),
        (
            ["--prior", "salman:path=modles,eps=3", *PRUNE],
            3,
            f"modles: no such folder; prior salman expects {FILE} there",
        ),
    ],
)
def test_a_choice_that_cannot_be_made_is_told_and_nothing_written(
    words: list[str], status: int, message: str, dry: tuple[str, ...], cli: Cli, folder: Path
) -> None:
    found = cli("prune", *words, *dry)
    assert (found.status, found.out) == (status, "")
    assert re.search(rf"^(error|Error): {message}", found.err, re.M), found.err
    assert names(folder) == ["models"]


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "give the checkpoint FILE, or a --prior that chooses it: found neither of them"),
        ([f"models/{FILE}", "--prior", EPS3], 2, "give the .* found both of them"),
        (["--prior", "salman:path=models"], 2, "prior salman has no eps for task 'digits': "),
        (["--prior", "salman:path=models,eps=0.5"], 3, "models: prior salman expects resnet10_l2"),
        (["--prior", EPS3, "--mode", "all"], 2, "mode is one of finetune, linear; found 'all'"),
    ],
)
def test_transfer_refuses_the_same(
    words: list[str], status: int, message: str, cli: Cli, folder: Path
) -> None:
    assert prune(cli, EPS3, "--no-checkpoint", "-q").status == 0
    before = names(folder)
    ticket = "resnet10_l2_eps3.ticket.safetensors"
    found = cli("transfer", ticket, "--task", TASK, "--arch", NETWORK, *words)
    assert (found.status, found.out) == (status, "")
    assert re.match(f"error: {message}", found.err), found.err
    assert names(folder) == before


class Code:
    """A pickle that makes a folder when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("canary",)


def test_a_file_that_would_run_code_is_refused_as_ever(cli: Cli, folder: Path) -> None:
    (folder / "models").mkdir()
    torch.save({"model": network_of(NETWORK, 5, 3).state_dict(), "x": Code()}, f"models/{FILE}")
    found = prune(cli, EPS3)
    assert (found.status, found.out) == (3, "")
    assert re.match(rf"error: models/{FILE}: refused: .* code would have to run", found.err)
    assert names(folder) == ["models"]


def test_a_prior_s_file_of_another_form_is_opened_by_what_it_holds(
    cli: Cli, folder: Path, models: Path
) -> None:
    (models / FILE).write_bytes(b"no checkpoint at all")
    found = prune(cli, EPS3)
    assert (found.status, found.out) == (3, "")
    assert found.err.startswith(f"error: models/{FILE}: ")
    assert names(folder) == ["models"]
