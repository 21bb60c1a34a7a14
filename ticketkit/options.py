"""Spec strings: `NAME[:key=value,...]` selects and configures a part; a part's spec says it again.

Lists use `+` (`against=svhn+noise`), numbers may be fractions (`eps=8/255`). Where no `=` follows
the first colon, the spec is `module:callable`, and options follow a second colon.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from ticketkit.errors import PluginError, UnknownPart, UsageError, near, printable
from ticketkit.parts import Part
from ticketkit.registry import KINDS, catalogue

_T = typing.TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a part, as help shows it."""

    name: str
    type: str
    default: str


def resolve(kind: str, spec: str | Part) -> Part:
    """The part that a spec string means; an instance of the kind's class stands for itself."""
    base = KINDS[kind][1]
    if isinstance(spec, base):
        return spec
    if not isinstance(spec, str):
        raise UsageError(
            f"{kind} is a spec string such as 'name:key=value' or an instance of "
            f"ticketkit.{base.__name__}, found {spec!r}"
            + ("; are its () missing?" if isinstance(spec, type) else "")
        )
    name, _, rest = spec.partition(":")
    if names_code(spec):
        target, _, text = rest.partition(":")
        maker = imported(name, target, kind)
    else:
        maker, text = catalogue().find(kind, name).part, rest
    part = configured(maker, text, spec)
    if not isinstance(part, base):
        raise UsageError(f"{spec!r} is no {kind}: it is a {type(part).__name__}")
    return part


def names_code(spec: str) -> bool:
    """Whether a part's spec is `module:name`, which whoever resolves it runs."""
    rest = spec.partition(":")[2]
    return bool(rest) and "=" not in rest.partition(":")[0]


def spec_of(part: Part) -> str:
    """The spec string of a part with every option written out."""
    kind = type(part)
    name = part.name if catalogue().of(part) else f"{kind.__module__}:{kind.__qualname__}"
    options = written(part)
    return name + (":" + options if options else "")


def written(options: object) -> str:
    """Every option of a part, or field of another dataclass, as `key=value,...`."""
    return ",".join(f"{n}={_written(getattr(options, n))}" for n in _fields(options))


def changed(before: _T, text: str, spec: str) -> _T:
    """A dataclass with the fields that `text`, `key=value,...`, sets; `spec` is for errors."""
    values = _values(type(before), text, spec)
    made = _made(functools.partial(dataclasses.replace, before), values, spec)  # type: ignore[type-var]
    return typing.cast("_T", made)


def options_of(part: type[Part]) -> list[Option]:
    """A part's options, from its dataclass fields."""
    hints = _hints(part)
    return [
        Option(field.name, _type_name(hints[field.name]), _default(field))
        for field in _fields(part).values()
    ]


def imported(module: str, name: str, kind: str) -> Callable[..., Any]:
    """What `module:name` calls; an `UnknownPart` that tells why there is nothing to call."""
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        shown = printable(f"{module}:{name}")
        reason = printable(f"{type(error).__name__}: {error}")
        raise UnknownPart(f"no {kind} at {shown}: {reason}") from error
    if not callable(found):
        raise UsageError(f"{module}:{name} is not callable")
    return typing.cast("Callable[..., Any]", found)


def configured(maker: Callable[..., Any], text: str, spec: str) -> Any:
    """What a dataclass, or another class without options, makes of options: `key=value,...`."""
    return _made(maker, _values(maker, text, spec), spec)


def _values(maker: object, text: str, spec: str) -> dict[str, Any]:
    """The values of the options that `text` sets, by the types of the maker's fields."""
    options = parsed(text, spec)
    hints = _hints(maker)
    known = list(_fields(maker))
    for name in options:
        if name not in known:
            choices = f"it has {', '.join(known)}" if known else "it has none"
            raise UsageError(
                f"{spec!r}: no option {printable(name)!r}; {choices}{near(name, known)}"
            )
    return {name: _value(text, hints[name], f"{spec!r}: {name}") for name, text in options.items()}


def _made(maker: Callable[..., Any], values: Mapping[str, Any], spec: str) -> Any:
    needed = [name for name, field in _fields(maker).items() if _is_needed(field)]
    if missing := [f"{name}=..." for name in needed if name not in values]:
        raise UsageError(f"{spec!r} needs an option {', '.join(missing)}")
    try:
        return maker(**values)
    except UsageError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"{spec!r}: {error}") from error
    except Exception as error:
        raise PluginError(f"{spec!r} raised {type(error).__name__}: {error}") from error


def parsed(text: str, spec: str) -> Mapping[str, str]:
    """The options in `key=value,...`; a `UsageError` that quotes the spec for anything else."""
    options: dict[str, str] = {}
    for item in text.split(",") if text else ():
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{spec!r}: expected key=value, found {printable(item)!r}")
        if name.strip() in options:
            raise UsageError(f"{spec!r}: {name.strip()} is given twice")
        options[name.strip()] = value.strip()
    return options


def literal(text: str) -> int | float | bool | str:
    """An option's value where no type is known: a number, true or false, or else text."""
    for read in (int, _number, _truth):
        with contextlib.suppress(ValueError, ZeroDivisionError, OverflowError):
            return read(text)
    return text


def _fields(part: object) -> dict[str, dataclasses.Field[Any]]:
    if not dataclasses.is_dataclass(part):
        return {}
    return {field.name: field for field in dataclasses.fields(part) if field.init}


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def _hints(part: object) -> dict[str, Any]:
    if not dataclasses.is_dataclass(part):
        return {}
    try:
        return typing.get_type_hints(part)
    except Exception as error:
        raise PluginError(f"the options of {part!r} cannot be read: {error}") from error


def _value(text: str, hint: Any, where: str) -> Any:
    """`text` as a value of the annotated type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if text == "none" and type(None) in arguments:
            return None
        return _value(text, next(a for a in arguments if a is not type(None)), where)
    if origin in (tuple, list):
        return origin(_value(item, arguments[0], where) for item in text.split("+") if text)
    if origin is typing.Literal:
        if text in map(str, arguments):
            return next(choice for choice in arguments if str(choice) == text)
        raise UsageError(f"{where} is one of {', '.join(map(str, arguments))}, found {text!r}")
    try:
        return _SCALARS[hint](text)
    except KeyError:
        raise PluginError(f"{where}: options of type {hint!r} are not supported") from None
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UsageError(f"{where} is {_type_name(hint)}, found {text!r}") from None


def _number(text: str) -> float:
    top, slash, bottom = text.partition("/")
    value = float(top) / float(bottom) if slash else float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _truth(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


_SCALARS: dict[Any, Callable[[str], Any]] = {int: int, float: _number, str: str, bool: _truth}


def _written(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "+".join(map(_written, value))
    return str(value)


def _type_name(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(map(str, arguments))
    if origin in (tuple, list):
        return f"{_type_name(arguments[0])}, several joined by +"
    if origin in (typing.Union, types.UnionType):
        return " or ".join("none" if a is type(None) else _type_name(a) for a in arguments)
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return _written(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _written(field.default_factory())
    return "required"
