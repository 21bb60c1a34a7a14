"""A draw for which a criterion looks at the data of a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import ticketkit
from tests.samples import request
from ticketkit.files import reserve
from ticketkit.losses import cross_entropy
from ticketkit.networks import network_of
from ticketkit.planning import plan
from ticketkit.pretrained import Pretraining
from ticketkit.sampled import PICTURES, draw_on_task
from ticketkit.saving import save_checkpoint
from ticketkit.seeds import order

ARCH = "resnet10:width=4,stem=small"
TASK = "digits:size=8"
DRAW: dict[str, Any] = {"criterion": "taylor", "scheme": "unstructured", "sparsity": 0.8}


def saved(folder: Path, classes: int = 10, dtype: torch.dtype = torch.float32) -> Path:
    """The checkpoint of a network that tells what it is of."""
    model = network_of(ARCH, classes, channels=1)
    state = {n: t.to(dtype) if t.is_floating_point() else t for n, t in model.state_dict().items()}
    path = folder / "m.safetensors"
    with reserve(path) as output:
        told = Pretraining(ARCH, classes, 1, TASK, "small", 0)
        save_checkpoint(output, state, told)
    return path


def test_it_is_the_draw_that_one_would_make_by_hand(tmp_path: Path) -> None:
    checkpoint = ticketkit.open_checkpoint(saved(tmp_path))
    found = draw_on_task(checkpoint, task=TASK, arch=None, root=None, seed=3, **DRAW)

    task = ticketkit.resolve("task", TASK)
    assert isinstance(task, ticketkit.Task)
    data = task.splits(None)["train"]
    assert isinstance(data, ticketkit.Pictures)
    chosen = data.subset(order(3, 0, len(data))[:PICTURES].tolist())
    batches = [
        (chosen.images[at : at + 64].float() / 255, chosen.targets[at : at + 64])
        for at in range(0, len(chosen), 64)
    ]
    model = network_of(ARCH, 10, channels=1)
    by_hand = ticketkit.draw(model, batches=batches, loss=cross_entropy, seed=3, **DRAW)
    assert found.mask == by_hand.mask
    assert found.provenance.source == checkpoint.digest()
    assert found.provenance.task == ticketkit.spec_of(task)


def test_the_ticket_of_a_file_in_half_precision_is_of_that_file(tmp_path: Path) -> None:
    checkpoint = ticketkit.open_checkpoint(saved(tmp_path, dtype=torch.float16))
    found = draw_on_task(checkpoint, task=TASK, arch=None, root=None, seed=0, **DRAW)
    assert found.provenance.source == checkpoint.digest()
    path = tmp_path / "t.safetensors"
    found.save(path)
    assert ticketkit.load_ticket(path) == found


# Fault row 16
def test_a_head_for_other_classes_is_refused_with_both_sizes(tmp_path: Path) -> None:
    checkpoint = ticketkit.open_checkpoint(saved(tmp_path, classes=62))
    with pytest.raises(ticketkit.MismatchError, match="for 62 classes, the network's for 10"):
        draw_on_task(checkpoint, task=TASK, arch=None, root=None, seed=0, **DRAW)


def test_a_plan_of_it_reads_no_data_and_tells_no_memory(tmp_path: Path) -> None:
    asked = request(saved(tmp_path), task="folder:path=none", criterion="taylor", data=tmp_path)
    found = plan(asked)
    assert found["bytes"]["peak_memory"] is None
    assert found["training"] is None
    with pytest.raises(ticketkit.UsageError, match="unknown network 'resnet19'"):
        plan(replace(asked, arch="resnet19"))
