"""What differs between two recipes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ticketkit.runrecord import differences, digest_of_recipe

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
) | st.text(max_size=4)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
RECIPES = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


@settings(max_examples=50)
@given(RECIPES, RECIPES)
def test_recipes_differ_in_some_field_if_and_only_if_their_digests_do(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert bool(list(differences(one, other))) == (digest_of_recipe(one) != digest_of_recipe(other))
    assert not list(differences(one, one))
    turned = [(name, new, old) for name, old, new in differences(other, one)]
    assert list(differences(one, other)) == turned


@settings(max_examples=50)
@given(RECIPES, st.lists(st.sampled_from("abc"), min_size=1, max_size=3), LEAVES)
def test_a_field_that_is_added_is_the_one_that_differs(
    recipe: dict[str, Any], path: list[str], value: Any
) -> None:
    old: dict[str, Any] = {**recipe, "deep": {}}
    new: dict[str, Any] = {**recipe, "deep": {"x": value}}
    for step in reversed(path):
        old["deep"], new["deep"] = {step: old["deep"]}, {step: new["deep"]}
    ((name, before, _),) = differences(old, new)
    assert name == ".".join(["deep", *path, "x"])
    assert before == "not there"


def test_fields_are_told_as_they_are_written() -> None:
    old: dict[str, Any] = {"a": 1, "b.c": None, "d": {}, "e": [1, {"f": 2}]}
    new: dict[str, Any] = {"a": 1.0, "b": {"c": None}, "d": {}, "e": [1, {"f": 3}]}
    assert list(differences(old, new)) == [
        ("a", "1", "1.0"),
        ("b", "not there", '{"c":null}'),
        ("b.c", "null", "not there"),
        ("e", '[1,{"f":2}]', '[1,{"f":3}]'),
    ]


def test_of_specs_with_the_same_options_those_that_differ_are_told() -> None:
    old: dict[str, Any] = {"fit": "epochs=1,lr=0.1,decay=none", "task": "digits:size=8,labels=9"}
    new: dict[str, Any] = {"fit": "epochs=2,lr=0.1,decay=cosine", "task": "glyphs:size=8,count=9"}
    assert list(differences(old, new)) == [
        ("fit", '"epochs=1,decay=none"', '"epochs=2,decay=cosine"'),
        ("task", '"digits:size=8,labels=9"', '"glyphs:size=8,count=9"'),
    ]
