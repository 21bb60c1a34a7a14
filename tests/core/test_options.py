"""Spec strings: what they select, what they refuse, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

import ticketkit
from ticketkit.options import literal, options_of, resolve, spec_of


@dataclass(frozen=True)
class Everything(ticketkit.BlockScheme):
    """One option of every type."""

    name = "everything"
    count: int = 2
    rate: float = 0.5
    label: str = "a"
    flag: bool = False
    several: tuple[str, ...] = ("x", "y")
    norm: Literal["l2", "linf"] = "l2"
    perhaps: int | None = None

    def block(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1,) * len(shape)


@dataclass(frozen=True)
class Strict(Everything):
    """Checks its options."""

    name = "strict"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is 1 or more, found {self.count}")


HERE = f"{__name__}:Everything"


def configured(options: str) -> Any:
    return resolve("scheme", f"{HERE}:{options}")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("count=7", "count", 7),
        ("rate=8/255", "rate", 8 / 255),
        ("rate=0.5/255", "rate", 0.5 / 255),
        ("rate=1e-3", "rate", 0.001),
        ("label=svhn", "label", "svhn"),
        ("flag=true", "flag", True),
        ("several=svhn+noise", "several", ("svhn", "noise")),
        ("norm=linf", "norm", "linf"),
        ("perhaps=3", "perhaps", 3),
        ("perhaps=none", "perhaps", None),
    ],
)
def test_an_option_becomes_a_value_of_its_type(text: str, name: str, value: object) -> None:
    assert getattr(configured(text), name) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count=2.5", "count is a whole number, found '2.5'"),
        ("rate=nan", "rate is a number, found 'nan'"),
        ("rate=1/0", "rate is a number, found '1/0'"),
        ("rate=1/2/3", "rate is a number, found '1/2/3'"),
        ("flag=yes", "flag is true or false, found 'yes'"),
        ("norm=l1", "norm is one of l2, linf, found 'l1'"),
        ("cuont=3", r"no option 'cuont'; it has count, rate.*did you mean 'count'\?"),
        ("count=1,count=2", "count is given twice"),
        ("count=1,flag", "expected key=value, found 'flag'"),
        ("=3", "expected key=value"),
    ],
)
def test_a_wrong_option_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=message):
        configured(text)


def test_what_a_part_refuses_is_a_usage_error() -> None:
    with pytest.raises(ticketkit.UsageError, match="count is 1 or more, found 0"):
        resolve("scheme", f"{__name__}:Strict:count=0")


@pytest.mark.parametrize("spec", ["row:width=2", "ticketkit/row:width=2"])
def test_an_option_for_a_part_without_options_is_refused(spec: str) -> None:
    with pytest.raises(ticketkit.UsageError, match="no option 'width'; it has none"):
        resolve("scheme", spec)


def test_an_instance_serves_as_it_is() -> None:
    part = Everything(count=5)
    assert resolve("scheme", part) is part


@pytest.mark.parametrize("wrong", [Everything, 3, None, b"row"])
def test_anything_else_is_refused(wrong: Any) -> None:
    with pytest.raises(ticketkit.UsageError, match=r"instance of ticketkit\.Scheme"):
        resolve("scheme", wrong)


@pytest.mark.parametrize(
    "spec",
    ["no_such_module:Thing", f"{__name__}:Nothing", "os:path", "builtins:dict", "os.path:join"],
)
def test_a_callable_that_is_not_there_or_no_part_is_refused(spec: str) -> None:
    with pytest.raises((ticketkit.UsageError, ticketkit.PluginError)):
        resolve("scheme", spec)


def test_a_part_of_another_kind_is_refused() -> None:
    with pytest.raises(ticketkit.UsageError, match="is no criterion"):
        resolve("criterion", HERE)


def test_a_spec_says_every_option_and_makes_the_same_part_again() -> None:
    part = Everything(count=5, rate=0.25, several=("b", "c"), flag=True)
    spec = spec_of(part)
    assert spec == f"{HERE}:count=5,rate=0.25,label=a,flag=true,several=b+c,norm=l2,perhaps=none"
    assert resolve("scheme", spec) == part
    assert spec_of(resolve("scheme", "row")) == "row"


def test_options_are_listed_with_their_types_and_defaults() -> None:
    listed = {option.name: (option.type, option.default) for option in options_of(Everything)}
    assert listed["count"] == ("a whole number", "2")
    assert listed["several"] == ("text, several joined by +", "x+y")
    assert listed["norm"] == ("l2 | linf", "l2")
    assert listed["perhaps"] == ("a whole number or none", "none")
    assert options_of(type(resolve("scheme", "row"))) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", 3), ("-0.5", -0.5), ("8/255", 8 / 255), ("true", True), ("False", False), ("x", "x")]
    + [(text, text) for text in ("", "nan", "inf", "a/b", "1/0", "none")],
)
def test_a_value_of_no_known_type_is_a_number_a_truth_or_text(text: str, expected: object) -> None:
    assert literal(text) == expected
    assert type(literal(text)) is type(expected)


def test_a_module_that_fails_to_import_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_parts.py").write_text("raise RuntimeError('a\\nb')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ticketkit.UnknownPart, match=r"no scheme at .*RuntimeError: a") as caught:
        resolve("scheme", "broken_parts:Scheme")
    assert "\n" not in str(caught.value)
