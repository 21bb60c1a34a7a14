"""`ticketkit gap`: the distance, what it is told to speak for, and what is refused."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity import FeatureExtractorInceptionV3

import ticketkit
from tests.cli.conftest import Cli, Result
from tests.core.inception import save_inception
from ticketkit.cli import gap as page
from ticketkit.datasets import Data, data_of
from ticketkit.files import reserve
from ticketkit.linear_probe import extract
from ticketkit.networks import network_of
from ticketkit.pretrained import Pretraining
from ticketkit.saving import save_checkpoint

ARCH = "resnet10:width=8,stem=small"
SOURCE, TASK = "glyphs:count=200,size=8", "digits:size=8"
NETWORK = "network:path=m.safetensors"


def save_network(path: Path, bad: float = 0.0) -> torch.nn.Module:
    """Write a network of grey pictures; with a weight of `bad`, if that is not 0."""
    model = network_of(ARCH, 62, 1, 0)
    if bad:
        model.get_parameter("layer1.0.conv1.weight").data[0, 0, 0, 0] = bad
    told = Pretraining(arch=ARCH, classes=62, channels=1, task="glyphs", fit="small", seed=0)
    with reserve(path) as output:
        save_checkpoint(output, model.state_dict(), told)
    return model


@pytest.fixture
def model(folder: Path) -> torch.nn.Module:
    """The network of `m.safetensors` in the current folder."""
    return save_network(folder / "m.safetensors")


@pytest.fixture
def gap(cli: Cli, model: torch.nn.Module) -> Cli:
    """Run `ticketkit gap`, between glyphs and digits where nothing else is asked."""

    def run(*arguments: object, **options: object) -> Result:
        given = {"source": SOURCE, "task": TASK, "extractor": NETWORK, **options}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        return cli("gap", *words, *arguments)

    return run


def data(spec: str) -> Data:
    """The data of a task."""
    return data_of(ticketkit.resolve("task", spec))  # type: ignore[arg-type]


def test_it_is_the_distance_of_the_same_pictures_to_all_of_the_task(
    gap: Cli, model: torch.nn.Module
) -> None:
    document = gap("--json", count=90).document
    source = ticketkit.sample_of(data(SOURCE).train, 90)
    near, _ = extract(model, "fc", source)
    both = [extract(model, "fc", each)[0] for each in (data(TASK).train, data(TASK).test)]
    expected = ticketkit.frechet_distance(near, torch.cat(both))
    assert document["distance"] == pytest.approx(expected, 1e-6)
    assert (document["source"]["n"], document["task"]["n"]) == (90, 1797)
    assert document["distance"] > 0


def test_the_document_tells_every_setting(gap: Cli, folder: Path) -> None:
    document = gap("--json", count=100).document
    assert document["schema"] == "ticketkit.gap/1"
    assert document["extractor"] == {
        "spec": "network:path=m.safetensors,arch=none,size=none",
        "about": f"{ARCH}, what its head fc is given",
        "path": "m.safetensors",
        "sha256": ticketkit.open_checkpoint(folder / "m.safetensors").digest(),
        "features": 64,
        "resize": "none",
    }
    source, task = document["source"], document["task"]
    assert source["spec"].startswith("glyphs:size=8,count=200")
    assert (source["count"], source["seed"], source["used"]) == (100, 0, {"train": 100})
    assert task["spec"].startswith("digits:size=8")
    assert task["used"] == {"train": 1437, "test": 360}
    assert task["data"]["test"] == {"count": 360, "sha256": data(TASK).test.digest()}  # type: ignore[attr-defined]
    advice = document["advice"]
    assert (advice["suggests"], advice["comparable"]) == ("unknown", False)
    assert len(advice["table"]["points"]) == 12
    assert set(document["versions"]) >= {"ticketkit", "torch", "numpy", "scipy"}
    assert "torch-fidelity" not in document["versions"]
    assert document["environment"]["device"] == "cpu"
    assert document["notes"] == [
        "the paper takes 8,000 pictures of the source; fewer give a larger distance"
    ]
    assert gap("--json", count=100).document == document


def test_a_person_reads_the_place_among_the_papers_tasks(gap: Cli) -> None:
    done = gap()
    lines = done.out.splitlines()
    assert done.status == 0
    assert re.fullmatch(r"Frechet distance [\d.e-]+ from glyphs to digits", lines[0])
    assert "          200 training pictures, drawn by seed 0" in lines
    assert "          all 1,797 pictures: 1,437 of train and 360 of test" in lines
    assert f"features  64: {ARCH}, what its head fc is given" in lines
    (head,) = [number for number, line in enumerate(lines) if line.endswith("FID  winner")]
    table = lines[head + 1 :][:13]
    fids = [float(line.split()[-2 if line[0] == " " else 2]) for line in table]
    assert fids == sorted(fids, reverse=True)
    assert table[-1].startswith(">  digits")
    assert table[-1].endswith("this gap: not comparable")
    assert re.search(r"\n   caltech101 +56\.71  robust\n", done.out)
    told = " ".join(lines[lines.index("") :])
    assert "This number speaks for nothing, as it may not be compared" in told
    assert "caltech101 (56.71), won by robust tickets, contradicts the trend" in told
    assert max(map(len, lines)) <= 80
    note = "note: glyphs has 200 training pictures, fewer than the 8,000 asked for\n"
    assert done.err == note
    assert gap("-q") == Result(0, "", "")


@pytest.mark.parametrize(
    ("fid", "told"),
    [
        (198.3, "This speaks for robust tickets: all 6 tasks from an FID of 150.92 on were won by"),
        (130.0, "This speaks for nothing: the table has no task between 115.95 and 150.92."),
        (60.12, "This speaks for neither ticket: of the 6 tasks up to an FID of 115.95, 3 were a"),
    ],
)
def test_a_number_that_may_be_compared_is_judged(
    fid: float, told: str, gap: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    from ticketkit.advice import advise

    document = {**gap("--json").document, "distance": fid, "advice": advise(fid)}
    document["extractor"]["spec"] = "inception:path=none"
    page.show(document)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"FID {fid:.2f} from glyphs to digits"
    assert told in lines
    (row,) = [line for line in lines if line.startswith(">")]
    assert row.split() == [">", "digits", f"{fid:.2f}", "this", "gap"]
    assert max(map(len, lines)) <= 80


def test_both_may_be_of_one_task(gap: Cli) -> None:
    done = gap(source="glyphs:size=8,count=99", task="glyphs:size=8,count=98")
    assert done.out.splitlines()[0].endswith(
        "from glyphs:size=8,count=99 to glyphs:size=8,count=98"
    )


@pytest.fixture
def coloured(folder: Path) -> Path:
    """A folder with two sets of pictures, `a` and `b`, of several sizes."""
    draw = np.random.default_rng(0)
    for name, base in (("a", 0), ("b", 150)):
        for number, split in enumerate(("train", "train", "test")):
            for label in ("x", "y"):
                place = folder / name / split / label
                place.mkdir(parents=True, exist_ok=True)
                pixels = base + draw.integers(0, 100, (20 + number, 30, 3))
                Image.fromarray(pixels.astype("uint8")).save(place / f"{number}.png")
    return folder


# Fault rows 45, 47
@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"task": "digts"}, 2, "unknown task 'digts'; .* did you mean 'digits'.*"),
        ({"source": "glyps"}, 2, "unknown task 'glyps'; .* did you mean 'glyphs'.*"),
        ({"task": SOURCE}, 2, "source and task are both glyphs:.*: a gap lies between two"),
        ({"count": 1}, 2, "count is a number of pictures, 2 or more, found 1"),
        ({"extractor": "resnet"}, 2, "unknown extractor 'resnet'; .*inception, network.*"),
        ({"extractor": "network:path=no"}, 3, "no: no such file"),
        ({"extractor": "network:path=m.safetensors,arch=resnet1"}, 2, "unknown network .*"),
        ({"extractor": "network:path=m.safetensors,arch=resnet18"}, 3, "m.safetensors: .*"),
        ({"device": "cuda:99"}, 2, "device 'cuda:99' was asked for; found .*"),
        ({"task": "aircraft"}, 3, "no data of aircraft: there is no .*"),
        (
            {"task": "folder:path=a", "data": "."},
            3,
            "extractor network takes pictures of 1 channel, as those of the source are, and those "
            "of folder have 3",
        ),
    ],
)
def test_what_is_refused_is_one_line(
    options: dict[str, Any], status: int, message: str, gap: Cli, coloured: Path
) -> None:
    done = gap(**options)
    assert (done.status, done.out) == (status, ""), done.err
    assert re.fullmatch(f"error: {message}\n", done.err), done.err


def test_nothing_can_be_downloaded_where_neither_task_can(gap: Cli) -> None:
    assert "task 'digits' downloads nothing" in gap("--download").err


# Fault row 45
def test_missing_weights_are_told_before_torch_is_imported(folder: Path) -> None:
    code = """
import sys
from ticketkit.cli import main
assert main(["gap", "--task", "aircraft"]) == 3
assert main(["gap", "--task", "aircraft", "--extractor", "network:path=nothing"]) == 3
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, capture_output=True)
    first, second = done.stderr.decode().splitlines()
    assert re.match(r"error: /.*/weights-inception-2015-12-05-6726825d.pth: no such file; ", first)
    assert second == "error: nothing: no such file"


# Fault row 45
def test_the_inception_takes_pictures_of_three_channels(gap: Cli, folder: Path) -> None:
    save_inception(folder / "i.pth")
    done = gap(extractor="inception:path=i.pth")
    message = "extractor inception takes pictures of 3 channels and those of glyphs have 1"
    assert done == Result(3, "", f"error: {message}\n")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(bad: float, gap: Cli, folder: Path) -> None:
    save_network(folder / "n.safetensors", bad)
    done = gap(extractor="network:path=n.safetensors")
    message = "train of glyphs: sample 0: the network's output is NaN or infinite"
    assert done == Result(1, "", f"error: {message}\n")


@pytest.mark.slow
def test_with_the_inception_it_is_the_fid(gap: Cli, coloured: Path) -> None:
    path = save_inception(coloured / "i.pth")
    options = {"source": "folder:path=a", "task": "folder:path=b", "data": "."}
    document = gap("--json", extractor="inception:path=i.pth", **options).document
    network = FeatureExtractorInceptionV3("i", ["2048"], str(path))
    features = []
    for name, splits in (("a", ["train"]), ("b", ["train", "test"])):
        files = [p for split in splits for p in sorted((coloured / name / split).rglob("*.png"))]
        pictures = [torch.from_numpy(np.array(Image.open(p))).permute(2, 0, 1) for p in files]
        with torch.no_grad():
            found = torch.cat([network(picture[None])[0] for picture in pictures])
        features.append(found.double())
    # With N x N matrices in the place of d x d ones: Tr sqrt(S1 S2) is a sum of singular values.
    means = [each.mean(0) for each in features]
    a, b = ((f - m) / (len(f) - 1) ** 0.5 for f, m in zip(features, means, strict=True))
    between = torch.linalg.svdvals(a @ b.T).sum()
    away = (means[0] - means[1]).square().sum()
    expected = (away + a.square().sum() + b.square().sum() - 2 * between).item()
    assert document["distance"] == pytest.approx(expected, 1e-4)
    assert document["extractor"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert document["extractor"]["features"] == 2048
    assert document["versions"]["torch-fidelity"]
    assert document["advice"]["reasons"] == [
        "the table's source is imagenet, this one's folder:path=a",
        "these are not the weights that FIDs are computed with, by their SHA-256",
        "folder:path=a has 4 and folder:path=b has 6 pictures, no more than an FID has features: "
        "of the number its order of magnitude alone can be read",
    ]
    assert (document["source"]["n"], document["task"]["n"]) == (4, 6)
