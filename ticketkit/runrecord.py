"""What a run is of: its recipe, which may not change, and the environment that it began in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ticketkit.errors import InputError, UsageError, printable, some
from ticketkit.fields import object_of
from ticketkit.files import Output, sha256
from ticketkit.tensorfile import json_object

RECORD = "run.json"
_SCHEMA = 1
_NOTHING = object()


def digest_of_recipe(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of a recipe, in whatever order its fields stand."""
    return sha256(_text(dict(recipe)).encode())


def write_record(folder: Path, recipe: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Write `run.json`, which makes a folder a run; whole or not at all."""
    record = {
        "schema": _SCHEMA,
        "recipe": dict(recipe),
        "sha256": digest_of_recipe(recipe),
        "environment": dict(environment),
    }
    data = (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()
    output = Output(folder / RECORD)
    try:
        with output.writing(len(data)) as file:
            file.write(data)
        output.place()
    finally:
        output.drop()


def check_record(
    folder: Path, recipe: Mapping[str, Any], environment: Mapping[str, Any]
) -> list[str]:
    """Refuse to go on with a run of another recipe; notes where the environment is another."""
    old = _read(folder)
    shown = printable(str(folder))
    found = sorted(differences(old["recipe"], _plain(recipe)), key=lambda each: "." in each[0])
    if changes := [f"{name} was {before} and is {now}" for name, before, now in found]:
        raise UsageError(
            f"{shown}: a run of another recipe: {some(changes)}; name another folder with --run"
        )
    return [
        f"{shown}: {name} was {before} and is {now}: the bits may differ from an unbroken run's"
        for name, before, now in differences(old["environment"], _plain(environment))
    ]


def differences(old: Any, new: Any, where: str = "") -> Iterator[tuple[str, str, str]]:
    """The fields that differ between two JSON values: each one's dotted name, and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            inner = f"{where}.{name}" if where else name
            yield from differences(old.get(name, _NOTHING), new.get(name, _NOTHING), inner)
    elif _shown(old) != _shown(new):
        before, now = _told_apart(old, new)
        yield where, printable(_shown(before), 80), printable(_shown(now), 80)


def _told_apart(old: Any, new: Any) -> tuple[Any, Any]:
    """Of two specs with the same options those that differ; anything else as it is."""
    if not isinstance(old, str) or not isinstance(new, str):
        return old, new
    ours, theirs = ([item.partition("=") for item in each.split(",")] for each in (old, new))
    if [name for name, *_ in ours] != [name for name, *_ in theirs]:
        return old, new
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    return ",".join("".join(a) for a, _ in pairs), ",".join("".join(b) for _, b in pairs)


def _plain(fields: Mapping[str, Any]) -> Any:
    """As it is read again: tuples are lists."""
    return json.loads(_text(dict(fields)))


def _shown(value: Any) -> str:
    return "not there" if value is _NOTHING else _text(value)


def _text(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise UsageError(f"a run is of finite numbers only, found {value!r}") from None


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    shown = printable(str(path))
    try:
        record = json_object(shown, path.read_bytes())
    except OSError as error:
        raise InputError(f"{shown}: {error.strerror or error}") from error
    try:
        if record["schema"] != _SCHEMA:
            raise InputError(f"{shown}: expected schema {_SCHEMA}, found {record['schema']!r}")
        if digest_of_recipe(object_of(record["recipe"])) != record["sha256"]:
            raise InputError(f"{shown}: the recipe was altered: its SHA-256 is another")
        object_of(record["environment"])
    except KeyError as error:
        raise InputError(f"{shown}: no field {error}") from None
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{shown}: {error}") from None
    return record
