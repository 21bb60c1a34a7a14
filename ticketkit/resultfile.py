"""Results as files: a JSON document, and a table of its figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ticketkit.errors import printable
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
