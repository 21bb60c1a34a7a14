"""A draw that trains, of a file on a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ticketkit
from ticketkit.describe import notes_on
from ticketkit.drawrun import draw_in_run, trained_on
from ticketkit.experiments import Experiment
from ticketkit.files import reserve
from ticketkit.jobs import Asked
from ticketkit.networks import network_of
from ticketkit.opening import network_for
from ticketkit.pretrained import Pretraining
from ticketkit.pruning import Drawn
from ticketkit.saving import save_checkpoint
from ticketkit.transplanting import mask_of

ARCH = "resnet10:width=8,stem=small"
TASK = "digits:size=8,labels=40"
FIT = "small:epochs=1,batch=20"


def saved(
    folder: Path, task: str | None = "glyphs", classes: int = 62, channels: int = 1
) -> ticketkit.Checkpoint:
    """The checkpoint of a network; without a task its file tells nothing of it."""
    path = folder / "m.safetensors"
    state = network_of(ARCH, classes, channels).state_dict()
    if task is None:
        torch.save(state, path.with_suffix(".pt"))
        return ticketkit.open_checkpoint(path.with_suffix(".pt"))
    with reserve(path) as output:
        normal = {"mean": (0.2,), "std": (0.5,)}
        told = Pretraining(ARCH, classes, channels, task, "small", 0, None, normal)
        save_checkpoint(output, state, told)
    return ticketkit.open_checkpoint(path)


def draw(
    checkpoint: ticketkit.Checkpoint,
    folder: Path,
    *,
    criterion: Any = "magnitude",
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    **options: Any,
) -> Drawn:
    parts = ticketkit.Parts.resolve("unstructured", criterion, None, "imp:rate=0.4")
    asked = Asked(parts, 0.6, options.pop("seed", 0), False)
    chosen: dict[str, Any] = {"task": TASK, "fit": FIT, "run": folder / "run", **options}
    experiment = Experiment(**chosen)
    return draw_in_run(checkpoint, experiment, asked, include=include, exclude=exclude)


def told_of(drawn: Drawn) -> dict[str, Any]:
    """What was trained."""
    assert drawn.training is not None
    return drawn.training


def test_it_is_the_draw_that_one_would_make_by_hand(tmp_path: Path) -> None:
    """Downstream: the pretrained weights, a new head, two rounds with a training between them."""
    checkpoint = saved(tmp_path)
    found = draw(checkpoint, tmp_path)
    model = network_for(checkpoint, None, 10, 1, 0, skip_head=True).model
    task = ticketkit.resolve("task", TASK)
    assert isinstance(task, ticketkit.Task)
    data = task.splits(None)["train"]
    by_hand = ticketkit.draw(
        model,
        scheme="unstructured",
        sparsity=0.6,
        strategy="imp:rate=0.4",
        data=data,
        schedule=ticketkit.Schedule(
            epochs=1,
            batch=20,
            lr=0.1,
            nesterov=True,
            decays="matrices",
            decay="cosine",
            warmup=0.15,
            ramp=0.2,
            augment="shift",
        ),
    )
    assert found.ticket.mask == by_hand.mask
    assert told_of(found)["head"] == "new"
    assert [each["number"] for each in told_of(found)["rounds"]] == [1, 2]


def test_its_ticket_tells_all_that_draws_it_again(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    found = draw(checkpoint, tmp_path, robustifier="smoothing:sigma=0.1", seed=4).ticket
    told = found.provenance
    assert told.source == checkpoint.digest()
    assert told.task == "digits:size=8,labels=40,split=0,corruption=none,severity=0.3"
    assert told.robustifier == "smoothing:sigma=0.1"
    assert (told.arch, told.head) == (ARCH, "new")
    assert told.fit is not None
    assert told.fit.startswith("epochs=1,steps=0,batch=20")
    assert told.normalisation == {"mean": (0.2,), "std": (0.5,)}
    path = tmp_path / "t.safetensors"
    found.save(path)
    assert ticketkit.load_ticket(path) == found
    rounds = sorted((tmp_path / "run").glob("round-*/ticket.safetensors"))
    assert ticketkit.load_ticket(rounds[-1]) == found
    again = draw(
        checkpoint,
        tmp_path / "again",
        task=told.task,
        fit=told.fit,
        robustifier=told.robustifier,
        seed=told.seed,
    )
    assert again.ticket == found  # of nothing but its provenance
    first = ticketkit.load_ticket(rounds[0])
    assert first.provenance == replace(told, sparsity=first.provenance.sparsity)


def test_a_draw_by_the_schedule_of_a_ticket_draws_it_again() -> None:
    data = ticketkit.Pictures(
        torch.arange(40 * 64).reshape(40, 1, 8, 8).remainder(251).to(torch.uint8),
        torch.arange(40) % 10,
    )
    asked: dict[str, Any] = {"scheme": "unstructured", "sparsity": 0.6, "strategy": "imp:rate=0.4"}

    def drawn(schedule: str | None) -> ticketkit.Ticket:
        model = network_of(ARCH, 10, channels=1)
        return ticketkit.draw(model, data=data, schedule=schedule, **asked)

    ticket = drawn("small:epochs=1,batch=20,lr=0.03")
    assert drawn(ticket.provenance.fit) == ticket


def test_its_denominators_are_those_of_the_file(tmp_path: Path) -> None:
    """Not those of the network, whose head is for other classes."""
    checkpoint = saved(tmp_path)
    once = ticketkit.draw(checkpoint, scheme="unstructured", sparsity=0.6)
    assert draw(checkpoint, tmp_path).ticket.counts == once.counts


def test_upstream_the_head_is_the_checkpoints(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, task="digits:size=8", classes=10)
    assert told_of(draw(checkpoint, tmp_path))["head"] == "kept"


@pytest.mark.parametrize(
    ("told", "classes", "upstream"),
    [
        ("digits", 10, True),
        ("digits:size=8", 10, True),
        ("glyphs", 10, False),
        (None, 10, True),
        (None, 62, False),
    ],
)
def test_the_file_tells_whether_the_task_is_its_own(
    told: str | None, classes: int, upstream: bool, tmp_path: Path
) -> None:
    task = ticketkit.resolve("task", TASK)
    assert isinstance(task, ticketkit.Task)
    assert trained_on(saved(tmp_path, told, classes), task, 10) is upstream


def test_for_segmentation_the_ticket_is_of_the_backbone_by_the_names_of_the_file(
    tmp_path: Path,
) -> None:
    checkpoint = saved(tmp_path)
    found = draw(checkpoint, tmp_path, task="glyph-scenes:count=12,size=32").ticket
    once = ticketkit.draw(checkpoint, scheme="unstructured", sparsity=0.6)
    assert found.mask.shapes == once.mask.shapes
    assert found.mask != once.mask
    assert found.mask.kept == once.mask.kept
    assert found.counts == once.counts
    segmenter = network_for(checkpoint, None, 11, 1, segmentation=True, skip_head=True).model
    mask_of(found, segmenter).apply_(segmenter)
    last = ticketkit.load_ticket(tmp_path / "run" / "round-002" / "ticket.safetensors")
    assert mask_of(last, segmenter) == mask_of(found, segmenter)


def test_the_run_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    draw(saved(tmp_path), tmp_path)
    other = saved(tmp_path, task="digits", classes=10)
    with pytest.raises(ticketkit.UsageError, match="a run of another recipe: checkpoint was"):
        draw(other, tmp_path, resume=True)


class Looking(ticketkit.Criterion):
    """The magnitude, after a look at the shapes of the pictures."""

    name = "looking"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def collect(self, model: Any, batches: Any, loss: Any) -> dict[str, torch.Tensor]:
        self.shapes += [tuple(inputs.shape[1:]) for inputs, _ in batches]
        return {name: weight.detach().abs() for name, weight in model.named_parameters()}

    def score(self, weight: torch.Tensor, context: ticketkit.Context) -> torch.Tensor:
        assert context.statistic is not None
        return context.statistic


def test_a_criterion_that_looks_at_data_sees_pictures_as_large_as_training_does(
    tmp_path: Path,
) -> None:
    looking = Looking()
    fit = "small:epochs=1,batch=20,augment=crop,size=12"
    draw(saved(tmp_path), tmp_path, criterion=looking, fit=fit)
    assert set(looking.shapes) == {(1, 12, 12)}


def folders(root: Path, name: str, classes: int) -> str:
    """A task on pictures of one's own."""
    for split in ("train", "test"):
        for number in range(classes):
            folder = root / name / split / f"class{number}"
            folder.mkdir(parents=True)
            for each in range(6):
                pixels = np.full((12, 12, 3), 40 * number + each, np.uint8)
                Image.fromarray(pixels).save(folder / f"{each}.png")
    return f"folder:path={root / name}"


@pytest.mark.parametrize("classes", [3, 4])
def test_folders_of_other_pictures_are_other_tasks(classes: int, tmp_path: Path) -> None:
    theirs, ours = (folders(tmp_path, n, k) for n, k in (("a", 3), ("b", classes)))
    fit = "small:epochs=1,batch=6"
    checkpoint = saved(tmp_path, theirs, classes=3, channels=3)
    assert told_of(draw(checkpoint, tmp_path / "x", task=ours, fit=fit))["head"] == "new"
    assert told_of(draw(checkpoint, tmp_path / "y", task=theirs, fit=fit))["head"] == "kept"


def test_a_head_that_fits_by_its_size_alone_is_told_and_may_be_replaced(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, None, 10)
    found = draw(checkpoint, tmp_path, arch=ARCH)
    assert told_of(found)["head"] == "kept"
    assert [note for note in found.notes if "--new-head replaces it" in note]
    parts = ticketkit.Parts.resolve("unstructured", "magnitude", None, "imp:rate=0.4")
    experiment = Experiment(task=TASK, arch=ARCH, fit=FIT, run=tmp_path / "other")
    asked = Asked(parts, 0.6, 0, False)
    other = draw_in_run(checkpoint, experiment, asked, include=(), exclude=(), new_head=True)
    assert told_of(other)["head"] == "new"
    assert other.ticket.mask != found.ticket.mask


def test_a_new_head_is_no_part_of_a_ticket(tmp_path: Path) -> None:
    with pytest.raises(ticketkit.UsageError, match=r"fc\.weight: the head is a new one"):
        draw(saved(tmp_path), tmp_path, include=("fc.weight",))
    assert not (tmp_path / "run").exists()
    upstream = saved(tmp_path, "digits", 10)
    assert "fc.weight" in draw(upstream, tmp_path, include=("fc.weight",)).ticket.mask


def test_globs_are_over_the_names_of_the_file_for_segmentation_too(tmp_path: Path) -> None:
    found = draw(
        saved(tmp_path),
        tmp_path,
        task="glyph-scenes:count=12,size=32",
        exclude=("conv1.weight", "layer4.*"),
    )
    assert not [n for n in found.ticket.mask if n.startswith(("conv1", "layer4", "backbone"))]
    assert found.ticket.provenance.exclude == ("conv1.weight", "layer4.*")
    assert "conv1.weight" in found.spared


class Named(nn.Module):
    """A network whose linear layer a file's rules would take for an embedding, by its name."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.embed = nn.Linear(4, 8)
        self.fc = nn.Linear(8, classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.embed(self.conv(pictures).mean((2, 3))).relu())
        return found


def named() -> nn.Module:
    return Named(10)


def test_the_modules_of_the_network_decide_what_is_pruned(tmp_path: Path) -> None:
    torch.save(Named(10).state_dict(), tmp_path / "n.pt")
    checkpoint = ticketkit.open_checkpoint(tmp_path / "n.pt")
    found = draw(checkpoint, tmp_path, arch="tests.core.test_drawrun:named")
    assert set(found.ticket.mask) == {"conv.weight", "embed.weight"}
    assert found.ticket.counts.prunable == 4 * 9 + 4 * 8
    assert found.ticket.counts.parameters == sum(p.numel() for p in Named(10).parameters())


class Turned(nn.Module):
    """A network with a transposed convolution, whose outputs are its second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(1, 6, 3)
        self.fc = nn.Linear(6, 10)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.up(pictures).mean((2, 3)))
        return found


def test_where_a_network_tells_the_outputs_no_note_says_that_none_did(tmp_path: Path) -> None:
    torch.save(Turned().state_dict(), tmp_path / "n.pt")
    checkpoint = ticketkit.open_checkpoint(tmp_path / "n.pt")
    parts = ticketkit.Parts.resolve("channel", "magnitude", None, "imp:rate=0.4")
    experiment = Experiment(
        task=TASK, arch="tests.core.test_drawrun:Turned", fit=FIT, run=tmp_path / "run"
    )
    asked = Asked(parts, 0.5, 0, False)
    ticket = draw_in_run(checkpoint, experiment, asked, include=(), exclude=()).ticket
    assert ticket.mask["up.weight"].all(2).all(2)[0].sum() == 3  # whole outputs
    assert notes_on(ticket) == []
