"""A draw that trains, of a file on a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import ticketkit
from ticketkit.drawrun import Trained, draw_in_run, trained_on
from ticketkit.experiments import Experiment
from ticketkit.files import reserve
from ticketkit.jobs import Asked
from ticketkit.networks import network_of
from ticketkit.opening import network_for
from ticketkit.pretrained import Pretraining
from ticketkit.saving import save_checkpoint
from ticketkit.transplanting import mask_of

ARCH = "resnet10:width=8,stem=small"
TASK = "digits:size=8,labels=40"
FIT = "small:epochs=1,batch=20"


def saved(folder: Path, task: str | None = "glyphs", classes: int = 62) -> ticketkit.Checkpoint:
    """The checkpoint of a network; without a task its file tells nothing of it."""
    path = folder / "m.safetensors"
    state = network_of(ARCH, classes, channels=1).state_dict()
    if task is None:
        torch.save(state, path.with_suffix(".pt"))
        return ticketkit.open_checkpoint(path.with_suffix(".pt"))
    with reserve(path) as output:
        normal = {"mean": (0.2,), "std": (0.5,)}
        told = Pretraining(ARCH, classes, 1, task, "small", 0, None, normal)
        save_checkpoint(output, state, told)
    return ticketkit.open_checkpoint(path)


def draw(
    checkpoint: ticketkit.Checkpoint, folder: Path, criterion: str = "magnitude", **options: Any
) -> Trained:
    parts = ticketkit.Parts.resolve("unstructured", criterion, None, "imp:rate=0.4")
    asked = Asked(parts, 0.6, 0, False)
    chosen: dict[str, Any] = {"task": TASK, "fit": FIT, "run": folder / "run", **options}
    return draw_in_run(checkpoint, Experiment(**chosen), asked, include=(), exclude=(), report=None)


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
    assert found.told["head"] == "new"
    assert [each["number"] for each in found.told["rounds"]] == [1, 2]


def test_its_ticket_tells_all_that_draws_it_again(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)
    found = draw(checkpoint, tmp_path, robustifier="smoothing:sigma=0.1", seed=4).ticket
    told = found.provenance
    assert told.source == checkpoint.digest()
    assert told.task == "digits:size=8,labels=40,split=0,corruption=none,severity=0.3"
    assert told.robustifier == "smoothing:sigma=0.1"
    assert told.fit is not None
    assert told.fit.startswith("epochs=1,steps=0,batch=20")
    assert told.normalisation == {"mean": (0.2,), "std": (0.5,)}
    path = tmp_path / "t.safetensors"
    found.save(path)
    assert ticketkit.load_ticket(path) == found
    rounds = sorted((tmp_path / "run").glob("round-*/ticket.safetensors"))
    assert ticketkit.load_ticket(rounds[-1]) == found
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
    assert draw(checkpoint, tmp_path).told["head"] == "kept"


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


def test_a_criterion_that_looks_at_data_sees_the_tasks(tmp_path: Path) -> None:
    found = draw(saved(tmp_path), tmp_path, criterion="taylor")
    assert found.ticket.provenance.criterion == "taylor"
