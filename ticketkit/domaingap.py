"""How far is a downstream task's data from the source's? The work behind `gap`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ticketkit.advice import advise, table_two
from ticketkit.errors import EvaluationError, InputError, UsageError
from ticketkit.extractors import Chosen, Inception, extractor_of, spec_of_extractor
from ticketkit.options import resolve, spec_of
from ticketkit.parts import Task, brings
from ticketkit.progress import Advance, stage

if TYPE_CHECKING:
    import torch

    from ticketkit.datasets import Data
    from ticketkit.extractors import Extractor
    from ticketkit.frechet import Moments
    from ticketkit.parts import Dataset

    Splits = Mapping[str, Dataset]

_BATCH = 64
_ROWS = 512
"""How many samples are pooled at once: each time costs some passes over a (d, d) covariance."""


@dataclass(frozen=True)
class Gap:
    """What `ticketkit gap` was asked for."""

    task: str
    source: str = "imagenet"
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
    from ticketkit.frechet import distance

    device = device_of(request.device)
    ours, theirs = (_data(each, request) for each in (source, task))
    channels = _channels(chosen, {source.name: ours, task.name: theirs})
    opened = chosen.opened(channels)
    network = ready(opened.network, device)
    near = _side(network, source, ours, {"train": sample_of(ours.train, request.count)})
    far = _side(network, task, theirs, {"train": theirs.train, "test": theirs.test})
    sides = near, far
    value = distance(near.moments, far.moments)
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
        "source": {**near.document, "count": request.count, "seed": 0},
        "task": far.document,
        "advice": advise(value, [*_incomparable(chosen, opened, sides)]),
        "versions": _versions(source, task, chosen),
        "environment": environment(device),
        "notes": [*_notes(request, sides)],
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


def _side(network: torch.nn.Module, part: Task, data: Data, splits: Splits) -> _Side:
    """The moments of the features of all pictures in these splits."""
    from ticketkit.experiments import of_the_data
    from ticketkit.frechet import Moments
    from ticketkit.inference import evaluated

    used = {name: len(found) for name, found in splits.items()}  # type: ignore[arg-type]
    moments, total = Moments(), sum(used.values())
    if total < 2:
        raise InputError(f"{part.name}: a gap needs two pictures or more, found {total}")
    # First, as it may find that files are missing.
    document = {"spec": spec_of(part), "n": total, "used": used, "data": of_the_data(data)}
    with stage(f"features of {part.name}", total, "pictures") as advance, evaluated(network):
        for split, pictures in splits.items():
            try:
                for features in _features(network, pictures, advance):
                    moments.update(features)
            except EvaluationError as error:
                raise EvaluationError(f"{split} of {part.name}: {error}") from None
    return _Side(part.name, document, moments)


def _features(network: torch.nn.Module, data: Dataset, advance: Advance) -> Iterator[torch.Tensor]:
    """Features (n, d) on the CPU, of `_ROWS` pictures at a time or a little more."""
    import torch

    from ticketkit.batching import batches_of
    from ticketkit.guards import check_finite
    from ticketkit.inference import forward

    first, held = 0, []
    for inputs, _ in batches_of(data, _BATCH):
        found = forward(network, inputs, first).cpu()
        check_finite(found, first)
        held.append(found)
        first += len(inputs)
        advance(len(inputs))
        if sum(map(len, held)) >= _ROWS:
            yield torch.cat(held)
            held = []
    if held:
        yield torch.cat(held)


def _incomparable(chosen: Chosen, opened: Extractor, sides: tuple[_Side, _Side]) -> Iterator[str]:
    """Why the distance is none that may be compared with Table II's."""
    source = sides[0].name
    if source != Gap.source:
        yield f"the table's source is {Gap.source}, this one's {source}"
    if not isinstance(chosen, Inception):
        yield (
            "these are not the features that an FID is of: their scale is their own, so that "
            "distances rank tasks among themselves alone"
        )
        return
    if not opened.published:
        yield "these are not the weights that FIDs are computed with, by their SHA-256"
    few = [f"{side.name} has {side.moments.n:,}" for side in sides if side.moments.shortage()]
    if few:
        yield (
            f"{' and '.join(few)} pictures, no more than an FID has features: of the number its "
            "order of magnitude alone can be read"
        )


def _notes(request: Gap, sides: tuple[_Side, _Side]) -> Iterator[str]:
    source, usual = sides[0], table_two().pictures
    if source.moments.n < request.count:
        yield (
            f"{source.name} has {source.moments.n:,} training pictures, fewer than the "
            f"{request.count:,} asked for"
        )
    elif request.count != usual:
        yield f"the paper takes {usual:,} pictures of the source: fewer give a larger distance"
    for side in sides:
        if told := side.moments.shortage():
            yield f"{side.name}: {told}"


def _versions(source: Task, task: Task, chosen: Chosen) -> dict[str, str]:
    from importlib.metadata import version

    from ticketkit.versions import versions_of

    others = ["scipy", *(["torch-fidelity"] if isinstance(chosen, Inception) else [])]
    return {**versions_of(source, task), **{name: version(name) for name in others}}


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
