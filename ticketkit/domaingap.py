"""How far is a downstream task's data from the source's? The work behind `gap`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ticketkit.advice import SOURCE, advise, incomparable, table_two
from ticketkit.errors import InputError, UsageError
from ticketkit.extractors import Chosen, Inception, extractor_of, spec_of_extractor
from ticketkit.options import resolve, spec_of
from ticketkit.parts import Task, brings

if TYPE_CHECKING:
    import torch

    from ticketkit.datasets import Data
    from ticketkit.extractors import Extractor
    from ticketkit.frechet import Moments
    from ticketkit.parts import Dataset

    Splits = Mapping[str, Dataset]


@dataclass(frozen=True)
class Gap:
    """What `ticketkit gap` was asked for."""

    task: str
    source: str = SOURCE
    extractor: str = "inception"
    count: int = 8000
    """How many training pictures of the source, the same ones for every task."""
    data: Path | None = None
    """The folder in which the data of both lies; None for the user's cache."""
    download: bool = False
    """Whether data that is not there is fetched."""
    device: str = "auto"

    def check(self) -> tuple[Task, Task, Chosen]:
        """Source, task and extractor; what is wrong is told before torch is imported."""
        if self.count < 2:
            raise UsageError(f"count is a number of pictures, 2 or more, found {self.count}")
        source, task = (cast("Task", resolve("task", each)) for each in (self.source, self.task))
        if spec_of(source) == spec_of(task):
            raise UsageError(f"source and task are both {spec_of(task)}: a gap lies between two")
        chosen = extractor_of(self.extractor)
        chosen.check()
        if self.download and not brings(source, "download"):
            from ticketkit.datasets import check_downloads

            check_downloads(task)
        return source, task, chosen

    def names(self, source: Task, task: Task) -> tuple[str, str]:
        """What to call both: their names or, where these are one, what was asked for."""
        same = source.name == task.name
        return (self.source, self.task) if same else (source.name, task.name)


@dataclass(frozen=True)
class _Side:
    """The source or the task, and what was found of it."""

    name: str
    document: dict[str, Any]
    moments: Moments


def gap(request: Gap) -> dict[str, Any]:
    """Measure the domain gap: the document that `ticketkit gap --json` prints.

    An `InputError` where weights or data are missing, where pictures have other channels than the
    extractor takes, or where there are fewer than two on a side.
    """
    source, task, chosen = request.check()
    from ticketkit.batching import sample_of
    from ticketkit.environment import device_of, environment
    from ticketkit.experiments import ready

    device = device_of(request.device)
    ours, theirs = (_data(each, request) for each in (source, task))
    here, there = request.names(source, task)
    opened = chosen.opened(_channels(chosen, {here: ours, there: theirs}))
    network = ready(opened.network, device)
    sampled = {"train": sample_of(ours.train, request.count)}
    near = _side(network, source, here, ours, sampled)
    far = _side(network, task, there, theirs, {"train": theirs.train, "test": theirs.test})
    return {
        **_document(request, chosen, opened, near, far),
        "versions": _versions(source, task, chosen),
        "environment": environment(device),
        "notes": [*_notes(request, near, far)],
    }


def _side(network: torch.nn.Module, task: Task, name: str, data: Data, splits: Splits) -> _Side:
    from ticketkit.experiments import of_the_data
    from ticketkit.featured import moments_of

    # The data's digest first: it may find that files are missing.
    document = {
        "spec": spec_of(task),
        "name": name,
        "used": {split: len(found) for split, found in splits.items()},  # type: ignore[arg-type]
        "data": of_the_data(data),
    }
    return _Side(name, document, moments_of(network, splits, name))


def _document(
    request: Gap, chosen: Chosen, opened: Extractor, near: _Side, far: _Side
) -> dict[str, Any]:
    from ticketkit.frechet import distance

    value = distance(near.moments, far.moments)
    reasons = incomparable(
        inception=isinstance(chosen, Inception),
        published=opened.published,
        source=near.name,
        few={s.name: s.moments.n for s in (near, far) if s.moments.shortage()},
    )
    return {
        "schema": "ticketkit.gap/1",
        "distance": value,
        "extractor": {
            "spec": spec_of_extractor(chosen),
            "about": opened.about,
            "path": str(chosen.place),
            "sha256": opened.sha256,
            "features": near.moments.width,
            "resize": opened.resize,
        },
        "source": {**near.document, "n": near.moments.n, "count": request.count, "seed": 0},
        "task": {**far.document, "n": far.moments.n},
        "advice": advise(value, reasons),
    }


def _data(task: Task, request: Gap) -> Data:
    from ticketkit.datasets import data_of

    return data_of(task, request.data, download=request.download and brings(task, "download"))


def _channels(chosen: Chosen, found: Mapping[str, Data]) -> int:
    """How many channels all pictures have; refuses those that the extractor does not take."""
    taken = chosen.channels or next(iter(found.values())).shape[0]
    for name, data in found.items():
        if data.shape[0] != taken:
            whose = "" if chosen.channels else ", as those of the source are,"
            raise InputError(
                f"extractor {chosen.name} takes pictures of {_counted(taken, 'channel')}{whose} "
                f"and those of {name} have {data.shape[0]}"
            )
    return taken


def _notes(request: Gap, near: _Side, far: _Side) -> Iterator[str]:
    usual = table_two().pictures
    if near.moments.n < request.count:
        yield (
            f"{near.name} has {near.moments.n:,} training pictures, fewer than the "
            f"{request.count:,} asked for"
        )
    elif request.count != usual:
        yield f"the paper takes {usual:,} pictures of the source; fewer give a larger distance"
    for side in (near, far):
        if told := side.moments.shortage():
            yield f"{side.name}: {told}"


def _versions(source: Task, task: Task, chosen: Chosen) -> dict[str, str]:
    from importlib.metadata import version

    from ticketkit.versions import versions_of

    others = ["scipy", *(["torch-fidelity"] if isinstance(chosen, Inception) else [])]
    return {**versions_of(source, task), **{name: version(name) for name in others}}


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
