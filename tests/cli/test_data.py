"""`ticketkit transfer`, `pretrain` and `evaluate` on real data sets in small."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file

import ticketkit
from tests.cli.conftest import Cli, Result
from tests.plugins.tasks.real_files import WRITERS
from tests.samples import names
from ticketkit.augmenting import cropped
from ticketkit.cli import main
from ticketkit.datasets import data_of
from ticketkit.networks import network_of
from ticketkit.options import resolve

CROPS = "augment=crop,size=16"
STEPS = f"small:steps=2,batch=4,{CROPS}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny data sets, a network pretrained on one, `m`, and its ticket, `t`."""
    folder = tmp_path_factory.mktemp("made")
    for task in ("cifar10", "dtd", "folder:path=mine"):
        WRITERS[task](folder / "data")
    model = str(folder / "m.safetensors")
    data = ("--task", "cifar10", "--data", str(folder / "data"), "--attack", "steps=1")
    words = ("--arch", "resnet10:width=8,stem=small", "--fit", STEPS, "--run", str(folder / "run"))
    assert main(["pretrain", *data, *words, "-q", "-o", model]) == 0
    ticket = str(folder / "t.safetensors")
    assert main(["prune", model, "--sparsity", "0.5", "--ticket", ticket, "--no-checkpoint"]) == 0
    return folder


@pytest.fixture
def transfer(cli: Cli, made: Path, folder: Path) -> Cli:
    """Run `ticketkit transfer` with the ticket of `made`, on its data."""
    for name in ("m.safetensors", "t.safetensors"):
        shutil.copy(made / name, folder)

    def run(*words: object, data: Path = made / "data", **options: object) -> Result:
        given = {"attack": "steps=1", "data": data, "run": "r", **options}
        named = [word for name, value in given.items() for word in (f"--{name}", value)]
        return cli("transfer", "t.safetensors", "m.safetensors", *named, *words)

    return run


@pytest.mark.parametrize(
    ("task", "mode", "fit", "counts"),
    [
        ("cifar10", "finetune", STEPS, (15, 4)),
        ("cifar10", "linear", "small", (15, 4)),
        ("dtd", "linear", f"small:{CROPS}", (53, 6)),
        ("dtd", "linear", f"paper:steps=2,batch=4,{CROPS}", (53, 6)),
        ("dtd", "finetune", STEPS, (53, 6)),
        ("folder:path=mine", "finetune", STEPS, (5, 2)),
    ],
)
def test_a_ticket_is_transferred_to_real_data(
    task: str, mode: str, fit: str, counts: tuple[int, int], transfer: Cli
) -> None:
    done = transfer("--json", task=task, mode=mode, fit=fit)
    assert done.status == 0, done.err
    document = done.document
    found = document["data"]
    assert (found["train"]["count"], found["test"]["count"]) == counts
    assert all(found[split]["sha256"] for split in found)
    assert document["results"]["accuracy"]["top1"]["n"] == counts[1]
    assert document["revived"] == 0


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("finetune", "pictures differ in shape, (3, "),
        # Its statistics are estimated on neighbours of one shape, and here one has none.
        ("linear", "BatchNorm needs two or more pictures in a batch: sample 0 is alone in its own"),
    ],
)
def test_pictures_of_many_sizes_need_a_schedule_that_crops(
    mode: str, message: str, transfer: Cli
) -> None:
    done = transfer(task="dtd", mode=mode, fit="small")
    assert done.status == 3
    assert done.err.startswith(f"error: {message}")
    assert done.err.endswith("such as paper or small:augment=crop,size=64\n")


# Fault row 46
def test_without_the_data_nothing_begins(transfer: Cli, folder: Path) -> None:
    before = names(folder)
    for task in ("cifar10", "dtd", "imagenet", "folder:path=mine"):
        done = transfer(task=task, mode="finetune", fit=STEPS, data=folder / "none")
        assert (done.status, done.out) == (3, "")
        assert done.err.startswith(f"error: no data of {task.partition(':')[0]}: there is no ")
        assert done.err.count("\n") == 1
    assert names(folder) == before


# Fault row 46
@pytest.mark.parametrize("workers", [0, 2])
def test_one_unreadable_picture_ends_a_training_in_a_line(
    workers: int, transfer: Cli, made: Path, folder: Path
) -> None:
    data = Path(shutil.copytree(made / "data", folder / "data"))
    bad = data / "mine" / "train" / "dog" / "b.JPEG"
    bad.write_bytes(b"no picture")
    fit = f"small:epochs=1,batch=5,{CROPS}"
    done = transfer(
        "-q", task="folder:path=mine", mode="finetune", fit=fit, data=data, workers=workers
    )
    told = f"error: picture 4, {bad}: no picture of a form that Pillow reads\n"
    assert (done.status, done.err) == (3, told)


# Fault row 46
def test_a_picture_that_is_listed_and_missing_is_missed_before_anything_is_trained(
    transfer: Cli, made: Path, folder: Path
) -> None:
    data = Path(shutil.copytree(made / "data", folder / "data"))
    missing = next((data / "dtd" / "dtd" / "images" / "blotchy").iterdir())
    missing.unlink()
    done = transfer(task="dtd", mode="finetune", fit=STEPS, data=data)
    assert (done.status, done.out) == (3, "")
    assert done.err.endswith(f", {missing}: no such file\n")
    assert done.err.count("\n") == 1
    assert not (folder / "r").exists()


def test_a_resumed_run_takes_no_other_data(transfer: Cli, made: Path, folder: Path) -> None:
    data = Path(shutil.copytree(made / "data", folder / "data"))
    words = {"task": "folder:path=mine", "mode": "finetune", "fit": STEPS, "data": data}
    assert transfer("-q", **words).status == 0
    assert transfer("-q", "--resume", **words).status == 0
    (data / "mine" / "test" / "cat" / "4.jpg").rename(data / "mine" / "test" / "cat" / "5.jpg")
    done = transfer("-q", "--resume", **words)
    assert done.status != 0
    assert "data" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("task", ["digits", "cars", "birdsnap", "imagenet", "folder:path=mine"])
def test_a_task_with_nothing_to_download_refuses_to(task: str, transfer: Cli) -> None:
    done = transfer("--download", task=task, fit=STEPS)
    told = f"error: task '{task.partition(':')[0]}' downloads nothing: --data names the folder "
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(told)


def test_what_is_there_already_is_not_downloaded(transfer: Cli) -> None:
    done = transfer("-q", "--download", task="cifar10", mode="finetune", fit=STEPS)
    assert (done.status, done.err) == (0, "")


def test_a_draw_looks_at_real_data_too(cli: Cli, made: Path) -> None:
    words = ("--criterion", "taylor", "--task", "cifar10", "--data", made / "data")
    done = cli("prune", made / "m.safetensors", "--sparsity", "0.5", *words, "-q")
    assert done.status == 0, done.err


def test_photographs_are_measured_in_their_middle_as_they_usually_are(
    cli: Cli, made: Path, folder: Path
) -> None:
    """A file that tells no schedule is measured on crops of 224 pixels, or of what --crop says."""
    bare = network_of("resnet10:width=8", 2, 3)
    save_file(bare.state_dict(), folder / "bare.safetensors")
    words = ("evaluate", "bare.safetensors", "--task", "folder:path=mine", "--data", made / "data")
    whole = cli(*words, "--arch", "resnet10:width=8", "--json").document
    assert (whole["crop"], whole["results"]["accuracy"]["top1"]["n"]) == (224, 2)
    small = cli(*words, "--arch", "resnet10:width=8", "--crop", 16, "--json").document
    assert (small["crop"], small["data"]["test"]["count"]) == (16, 2)
    test = cropped(data_of(resolve("task", "folder:path=mine"), made / "data").test, 16)  # type: ignore[arg-type]
    by_hand = ticketkit.evaluate(bare, test, ["calibration"])["calibration"]["nll"]
    crop = ("--crop", 16, "-e", "calibration", "--json")
    nll = cli(*words, "--arch", "resnet10:width=8", *crop).document["results"][
        "calibration:bins=15"
    ]
    assert nll["nll"]["value"] == pytest.approx(by_hand.value)
    measures = ("-e", "accuracy", "-e", "calibration", "-e", "cost:runs=6")
    done = cli(*words, "--arch", "resnet10:width=8", "--crop", 16, *measures)
    assert done.status == 0
    assert "2 test pictures, their middle 16 pixels" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
