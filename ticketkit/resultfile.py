"""Results as files: a JSON document, and a table of its figures."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ticketkit.errors import UsageError, printable
from ticketkit.files import reserve
from ticketkit.outputs import check_absent, same_place
from ticketkit.tensorfile import json_object

DOCUMENT, TABLE = "result.json", "result.csv"
_COLUMNS = ("evaluator", "figure", "value", "n", "low", "high", "unit", "better")


def read_result(path: Path) -> dict[str, Any]:
    """The document that was written; an `InputError` where it is none."""
    return json_object(printable(str(path)), path.read_bytes())


def write_result(folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Write the document and its table into a folder; returns it as it is when it is read again."""
    text = result_text(document)
    (folder / DOCUMENT).write_text(text, encoding="utf-8")
    (folder / TABLE).write_text(result_table(document), encoding="utf-8")
    return cast("dict[str, Any]", json.loads(text))


def result_text(document: Mapping[str, Any]) -> str:
    """The document as JSON: what a file holds, and what `--json` prints."""
    return json.dumps(document, indent=2) + "\n"


def result_table(document: Mapping[str, Any]) -> str:
    """The figures as comma-separated values, a line each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for spec, figures in document["results"].items():
        for name, each in figures.items():
            writer.writerow({"evaluator": spec, "figure": name, **each})
    return text.getvalue()


@dataclass(frozen=True)
class ResultFiles:
    """Where a user wants a document, with its table beside it; None for nowhere."""

    path: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        return () if self.path is None else (self.path, self.path.with_suffix(".csv"))

    def check(self, inputs: Iterable[Path], *, force: bool) -> None:
        """Refuse a name that is not JSON's, one of the inputs, or what is there without `force`."""
        if self.path is None:
            return
        if self.path.suffix != ".json":
            found = printable(self.path.name)
            raise UsageError(f"the result is a JSON file: end its name in .json, found {found!r}")
        if any(same_place(self.path, each) for each in inputs):
            raise UsageError(f"the output would replace an input: {printable(str(self.path))}")
        check_absent(self.paths, force=force)

    def check_others(self, document: Mapping[str, Any] | None, *, force: bool) -> None:
        """Refuse what is there, without `force`, unless it is this very document."""
        ours = dict(zip(self.paths, _texts(document) if document else (), strict=False))
        others = [path for path in self.paths if not _holds(path, ours.get(path))]
        check_absent(others, force=force)

    @contextlib.contextmanager
    def reserved(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Hold the places in the block; what is returned writes a document to them."""
        with contextlib.ExitStack() as stack:
            places = [stack.enter_context(reserve(path)) for path in self.paths]

            def write(document: Mapping[str, Any]) -> None:
                for place, text in zip(places, _texts(document), strict=bool(places)):
                    with place.writing(len(text)) as file:
                        file.write(text.encode())

            yield write


def _texts(document: Mapping[str, Any]) -> tuple[str, str]:
    """What the files hold: the document, and its table."""
    return result_text(document), result_table(document)


def _holds(path: Path, text: str | None) -> bool:
    return text is not None and path.is_file() and path.read_bytes() == text.encode()
