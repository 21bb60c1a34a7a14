"""`ticketkit prune` by a strategy that trains in rounds."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Cli, Result
from tests.samples import names
from ticketkit.cli import main
from ticketkit.networks import network_of

NETWORK = "resnet10:width=8,stem=small"
UP, DOWN = "glyphs:count=200,size=8", "digits:labels=40,size=8"
OUTPUTS = {"m.pruned.safetensors", "m.ticket.safetensors"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained network of 62 classes."""
    folder = tmp_path_factory.mktemp("made")
    words = ("--arch", NETWORK, "--fit", "small:epochs=1", "--run", str(folder / "run"), "-q")
    model = str(folder / "m.safetensors")
    assert main(["pretrain", "--task", UP, *words, "-o", model]) == 0
    return Path(model)


@pytest.fixture
def prune(cli: Cli, made: Path, folder: Path) -> Cli:
    """Run `ticketkit prune m.safetensors` by imp, in three rounds."""
    shutil.copy(made, folder)

    def run(*arguments: object, **options: object) -> Result:
        given = {
            "strategy": "imp:rate=0.4",
            "task": DOWN,
            "fit": "small:epochs=1",
            "sparsity": 0.7,
            **options,
        }
        words = [w for n, v in given.items() if v is not None for w in (f"--{n}", v)]
        return cli("prune", "m.safetensors", *words, *arguments)

    return run


def test_it_prints_every_round_and_says_where_the_run_is(prune: Cli, folder: Path) -> None:
    done = prune(run="r")
    assert done.status == 0, done.err
    assert set(names(folder)) >= OUTPUTS
    assert "\nresnet10:width=8,stem=small, its head new\non digits:size=8,labels=40" in done.out
    rounds = re.findall(r"^ +(\d)  (0\.\d+)  ([\d,]+)  76,488$", done.out, re.MULTILINE)
    assert [(number, kept) for number, _, kept in rounds] == [
        ("1", "45,893"),
        ("2", "27,536"),
        ("3", "22,946"),
    ]
    assert done.out.count("\nrun r\n") == 1
    assert "round 3: 53,542 of 76,488 weights are removed" in done.err
    assert all(len(line) <= 100 for line in done.out.splitlines())


def test_upstream_keeps_the_head(prune: Cli) -> None:
    done = prune("--json", task=UP)
    assert done.document["training"]["head"] == "kept"
    assert not [note for note in done.document["notes"] if note.startswith("new, and trained")]


def test_json_is_one_document_with_the_rounds(prune: Cli, folder: Path) -> None:
    document = prune("--json", robustifier="smoothing:sigma=0.2", seed=3).document
    training = document["training"]
    assert training["robustifier"] == "smoothing:sigma=0.2"
    assert [each["number"] for each in training["rounds"]] == [1, 2, 3]
    assert training["rounds"][-1]["kept"] == document["counts"]["kept"]
    provenance = document["provenance"]
    assert provenance["seed"] == 3
    assert provenance["robustifier"] == training["robustifier"]
    assert (folder / training["run"] / "run.json").exists()


def test_a_run_that_is_over_ends_in_the_same_files(prune: Cli, folder: Path) -> None:
    assert prune(run="r").status == 0
    before = {name: (folder / name).read_bytes() for name in OUTPUTS}
    assert prune(run="r").status == 2
    assert prune("--resume", run="r").status == 0
    (folder / "m.pruned.safetensors").unlink()
    assert prune("--resume", run="r").status == 0
    assert {name: (folder / name).read_bytes() for name in OUTPUTS} == before


def test_a_ticket_with_values_is_its_own_too(prune: Cli) -> None:
    assert prune("--with-values", run="r").status == 0
    assert prune("--with-values", "--resume", run="r").status == 0


def test_a_resumed_run_replaces_nobodys_files(prune: Cli, folder: Path) -> None:
    assert prune(run="r").status == 0
    ticket = folder / "m.ticket.safetensors"
    ticket.write_bytes(b"mine")
    refused = prune("--resume", run="r")
    assert refused.status == 2
    assert "already there" in refused.err
    assert ticket.read_bytes() == b"mine"
    assert prune("--resume", "--force", run="r").status == 0


def test_a_resumed_run_leaves_an_output_that_is_there_as_it_is(prune: Cli, folder: Path) -> None:
    assert prune(run="r").status == 0
    output = folder / "precious.safetensors"
    output.write_bytes(b"precious")
    done = prune("--resume", "-o", output.name, run="r")
    assert done.status == 0, done.err
    assert "note: precious.safetensors was there already, and is left as it is" in done.err
    assert output.read_bytes() == b"precious"


def test_outputs_that_are_there_are_refused_before_the_work_is_resumed(
    prune: Cli, folder: Path
) -> None:
    (folder / "m.ticket.safetensors").write_bytes(b"mine")
    refused = prune("--resume", run="r")
    assert refused.status == 2
    assert "round 1" not in refused.err


# Fault row 21
def test_a_lower_sparsity_is_another_recipe(prune: Cli) -> None:
    assert prune(run="r").status == 0
    refused = prune("--resume", "--force", run="r", sparsity=0.5)
    assert refused.status == 2
    assert "sparsity was 0.7 and is 0.5" in refused.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": None}, "trains: give the data with --task"),
        ({"scheme": "nm", "sparsity": None}, "scheme nm has one sparsity"),
        ({"strategy": "imp:rate=2"}, "rate is a share between 0 and 1"),
        ({"strategy": "imp:rat=0.2"}, "no option 'rat'"),
        ({"robustifier": "pdg"}, "did you mean 'pgd'?"),
        ({"fit": "smal"}, "did you mean 'small' or"),
        ({"fit": "small:epochs=0"}, "counted in epochs or in steps"),
        ({"device": "cuda:7"}, "was asked for"),
        ({"workers": -1}, "workers is a number from 0 on"),
        ({"sparsity": 0.99999, "scheme": "channel"}, "the highest sparsity reachable"),
    ],
)
def test_what_has_no_meaning_is_refused_before_any_work(
    options: dict[str, object], words: str, prune: Cli, folder: Path
) -> None:
    refused = prune(**options)
    assert refused.status == 2, refused.err
    assert words in refused.err
    assert refused.out == ""
    assert len(refused.err.splitlines()) == 1
    assert names(folder) == ["m.safetensors"]


@pytest.mark.parametrize(
    "option",
    [
        ("--robustifier", "pgd"),
        ("--fit", "small"),
        ("--run", "r"),
        ("--resume",),
        ("--device", "cpu"),
        ("--workers", 1),
    ],
)
def test_a_strategy_that_does_not_train_takes_none_of_its_options(
    option: tuple[object, ...], prune: Cli
) -> None:
    refused = prune(*option, strategy="omp", task=None, fit=None)
    assert refused.status == 2
    assert "strategy omp does not train" in refused.err


def test_the_ticket_of_a_round_transfers_too(prune: Cli, cli: Cli, folder: Path) -> None:
    assert prune(run="r").status == 0
    ticket = "r/round-001/ticket.safetensors"
    words = ("--task", DOWN, "--attack", "steps=1", "--json")
    done = cli("transfer", ticket, "m.safetensors", *words)
    assert done.status == 0, done.err
    assert done.document["removed"] == 30_595


def test_show_tells_how_it_was_drawn(prune: Cli, cli: Cli) -> None:
    assert prune(run="r", robustifier="pgd:norm=l2,eps=0.5,steps=1").status == 0
    shown = cli("show", "m.ticket.safetensors").out
    assert re.search(r"^strategy +imp:rate=0\.4,rewind=0,train_first=false$", shown, re.MULTILINE)
    assert re.search(r"^robustifier +pgd:norm=l2,eps=0\.5,steps=1", shown, re.MULTILINE)
    assert re.search(r"^task +digits:size=8,labels=40", shown, re.MULTILINE)


def test_a_plan_writes_nothing_and_trains_nothing(prune: Cli, folder: Path) -> None:
    done = prune("--dry-run", "--json")
    assert done.status == 0, done.err
    document = json.loads(done.out)
    assert document["schema"] == "ticketkit.plan/1"
    assert document["training"]["arch"] == NETWORK
    assert document["bytes"]["peak_memory"] is None
    said = prune("--dry-run", robustifier="pgd").out
    assert f"would train {NETWORK} by small:epochs=1\non digits:size=8,labels=40" in said
    assert "bytes of memory" not in said
    assert prune("--dry-run", arch="nonsense").status == 2
    assert names(folder) == ["m.safetensors"]


def test_a_dry_run_tells_what_would_be_trained(prune: Cli, folder: Path) -> None:
    (before,) = names(folder)
    done = prune("--dry-run", robustifier="smoothing:sigma=0.2", data=folder / "none")
    assert (done.status, names(folder)) == (0, [before]), done.err
    assert (
        f"would train {NETWORK} by small:epochs=1\n"
        "on digits:size=8,labels=40,split=0,corruption=none,severity=0.3\n"
        "robustifier smoothing:sigma=0.2\n"
    ) in done.out
    assert "memory" not in done.out
    document = prune("--dry-run", "--json", fit=None).document
    assert document["training"] == {
        "arch": NETWORK,
        "task": "digits:size=8,labels=40,split=0,corruption=none,severity=0.3",
        "robustifier": None,
        "fit": "small",
        "run": None,
    }
    assert document["bytes"]["peak_memory"] is None


def test_a_dry_run_reads_no_data(prune: Cli, folder: Path) -> None:
    done = prune("--dry-run", task="folder:path=birds", data=folder / "none")
    assert done.status == 0, done.err
    assert "\non folder:path=birds, natural\n" in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "resnet19"}, "unknown network 'resnet19'; "),
        ({"arch": "fcn_resnet10"}, "'fcn_resnet10' is a segmenter, and the task is none"),
        ({"fit": "smal"}, "unknown preset 'smal'; "),
        ({"task": "digit"}, "unknown task 'digit'; "),
    ],
)
def test_a_dry_run_refuses_a_training_without_meaning(
    options: dict[str, str], message: str, prune: Cli
) -> None:
    done = prune("--dry-run", **options)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")


@pytest.mark.usefixtures("folder")
def test_a_dry_run_needs_to_know_the_network(cli: Cli) -> None:
    torch.save(network_of(NETWORK, 10, 1).state_dict(), "m.pt")
    words = ("--strategy", "imp", "--task", DOWN, "--sparsity", 0.7, "--dry-run")
    done = cli("prune", "m.pt", *words)
    assert done.status == 2
    assert done.err.startswith("error: m.pt does not tell what network it is of: give it with --ar")
    assert cli("prune", "m.pt", *words, "--arch", NETWORK).status == 0
