"""Result documents as the commands write them, with figures that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ACCURACY = "accuracy"
ADVERSARIAL = "adversarial:norm=l2,eps=0.25,steps=10"
PGD = "pgd:norm=l2,eps=0.5,steps=2"
NETWORK = "resnet10:width=16,stem=small"


def estimate(value: float, unit: str = "share", better: str = "higher") -> dict[str, Any]:
    """A figure, as documents have it."""
    return {"value": value, "n": 400, "low": None, "high": None, "unit": unit, "better": better}


def results(top1: float, adversarial: float = 0.5) -> dict[str, Any]:
    """Three figures of two evaluators."""
    return {
        ACCURACY: {"top1": estimate(top1), "per_class": estimate(top1 / 2)},
        ADVERSARIAL: {"pgd10-0.25": estimate(adversarial)},
    }


def training(task: str, seed: int, robustifier: str | None = None, **others: Any) -> dict[str, Any]:
    """How a network was trained, as its checkpoint tells."""
    told = {"task": task, "seed": seed, "robustifier": robustifier, "arch": NETWORK}
    return {**told, "fit": "epochs=8,lr=0.1", "classes": 62, "channels": 1, **others}


def pretrain_document(seed: int, robustifier: str | None, accuracy: float) -> dict[str, Any]:
    """A pretrained network, and its accuracy on the source task."""
    return {
        "schema": "ticketkit.pretrain/1",
        "pretraining": training("glyphs:size=16,count=8000,seed=0", seed, robustifier),
        "results": results(accuracy),
        "notes": [],
    }


def ticket_of(sparsity: float, seed: int = 0, **provenance: Any) -> dict[str, Any]:
    """A ticket's part of a document."""
    return {
        "parts": {
            "scheme": "unstructured",
            "criterion": "magnitude",
            "allocation": "global",
            "strategy": "omp",
        },
        "sparsity": {"requested": sparsity, "reached": {"prunable": sparsity}},
        "provenance": {
            "seed": seed,
            "include": [],
            "exclude": [],
            "allow_empty_layers": False,
            "source_sha256": None,
            "task": None,
            "fit": None,
            "robustifier": None,
            **provenance,
        },
    }


def transfer_document(
    sparsity: float,
    pretraining: int | None,
    robustifier: str | None,
    found: Mapping[str, Any],
    *,
    split: int = 0,
    seed: int = 0,
    **others: Any,
) -> dict[str, Any]:
    """A ticket that was transferred to `digits`; its source is null where `pretraining` is None."""
    source = None
    if pretraining is not None:
        source = training("glyphs:size=16,count=8000,seed=0", pretraining, robustifier)
    task = f"digits:size=16,labels=100,split={split},corruption=none,severity=0.3"
    return {
        "schema": "ticketkit.transfer/1",
        "ticket": ticket_of(sparsity),
        "source": source,
        "mode": "linear",
        "transfer": training(task, seed, fit="solver=newton"),
        "data": {"test": {"count": 1697, "sha256": f"{split}"}},
        "results": found,
        "notes": [],
        **others,
    }


def evaluate_document(
    ticket: Mapping[str, Any] | None, source: Any, found: Mapping[str, Any], **others: Any
) -> dict[str, Any]:
    """A network that was evaluated on `digits`."""
    return {
        "schema": "ticketkit.evaluate/1",
        "version": "0.1.0",
        "task": "digits:size=16,labels=100,split=0,corruption=none,severity=0.3",
        "arch": NETWORK,
        "seed": 0,
        "ticket": ticket,
        "source": source,
        "mode": None,
        "transfer": None,
        "checkpoint": {"file": "m.safetensors", "sha256": "m"},
        "results": found,
        "notes": [],
        **others,
    }


def evaluated_document(transfer: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """The network of a transfer, which was evaluated too: its file tells where it came from."""
    shared = ("ticket", "source", "mode", "transfer", "data")
    told = {name: transfer[name] for name in shared}
    task = transfer["transfer"]["task"]
    return {**evaluate_document(None, None, results(0.5), task=task), **told, **others}


def write_run(folder: Path, document: Mapping[str, Any] | None, command: str = "transfer") -> Path:
    """A run that is finished with this document, or not yet."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"schema": 1, "recipe": {"command": command}}))
    if document is not None:
        (folder / "result").mkdir()
        (folder / "result/result.json").write_text(json.dumps(document))
    return folder


def write_runs(folder: Path, documents: Iterable[Mapping[str, Any]]) -> Path:
    """A folder of finished runs."""
    for number, document in enumerate(documents):
        write_run(folder / f"transfer-{number:04}", document)
    return folder
