"""The catalogue: isolation of plugins, clashes of names, refusals that say what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ticketkit
from tests.plugin_factory import STRIPE, entry_points, install
from ticketkit.registry import KINDS, MOMENTS, Catalogue, Plugin, build

Build = Callable[..., Catalogue]


@pytest.fixture
def build_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Build a catalogue of ticketkit's own plugins and of modules given by their source."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def built(environment: Any = None, **sources: str) -> Catalogue:
        for module, source in sources.items():
            install(tmp_path, f"dist-{module.replace('_', '-')}", module, source)
        return build(entry_points(tmp_path), environment or {})

    yield built
    for module in set(sys.modules) - before:
        if module.startswith("plug_"):
            del sys.modules[module]


def state_of(catalogue: Catalogue, name: str) -> Plugin:
    return next(plugin for plugin in catalogue.plugins if plugin.name == name)


def test_the_first_party_parts_come_through_the_entry_points() -> None:
    offers = {(offer.kind, offer.name) for offer in ticketkit.catalogue().offers}
    assert {("scheme", name) for name in ("unstructured", "row", "kernel", "channel")} <= offers
    assert {("criterion", "magnitude"), ("criterion", "random"), ("strategy", "omp")} <= offers
    assert {("allocation", "global"), ("allocation", "uniform")} <= offers


def test_every_kind_has_a_hook_and_every_hook_a_kind() -> None:
    from ticketkit import hookspecs

    hooks = {name for name in vars(hookspecs) if name.startswith("ticketkit_")}
    assert hooks == {hook for hook, _ in KINDS.values()} | set(MOMENTS)


def test_a_plugin_offers_its_part_under_its_bare_and_its_qualified_name(build_with: Build) -> None:
    catalogue = build_with(plug_a=STRIPE.format(part="stripe"))
    assert catalogue.find("scheme", "stripe") == catalogue.find("scheme", "dist-plug-a/stripe")
    assert state_of(catalogue, "plug_a").version == "1.0"


BROKEN = {
    "import": ("import a_module_that_is_not_there", "a_module_that_is_not_there"),
    "syntax": ("def (", "SyntaxError"),
    "raising hook": (
        STRIPE.format(part="s").replace("yield Stripe", "raise RuntimeError('no luck')"),
        "RuntimeError: no luck",
    ),
    "raising half-way": (
        STRIPE.format(part="s") + "    raise RuntimeError('after one')",
        "RuntimeError: after one",
    ),
    "not a class": (STRIPE.format(part="s").replace("yield Stripe", "yield 3"), "found 3"),
    "an instance": (STRIPE.format(part="s").replace("yield Stripe", "yield Stripe()"), "classes"),
    "wrong base": (STRIPE.format(part="s").replace("yield Stripe", "yield dict"), "BlockScheme"),
    "no name": (STRIPE.format(part="s").replace('    name = "s"\n', ""), "with a name"),
    "bad name": (STRIPE.format(part="Not A Name"), "in lower case"),
    "abstract": (STRIPE.format(part="s").replace("def block", "def blok"), "implement block"),
    "misspelt hook": (
        STRIPE.format(part="s").replace("def ticketkit_schemes", "def ticketkit_schemas"),
        "ticketkit_schemas",
    ),
    "wrong argument": (
        STRIPE.format(part="s").replace("ticketkit_schemes()", "ticketkit_schemes(model)"),
        "model",
    ),
    "twice": (STRIPE.format(part="s") + "    yield Stripe", "twice"),
    "base exception": ("class Odd(BaseException): ...\nraise Odd('very odd')", "Odd: very odd"),
    "returns none": (STRIPE.format(part="s").replace("yield Stripe", "return None"), "NoneType"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named_with_its_reason_and_the_rest_go_on(
    case: str, build_with: Build
) -> None:
    source, reason = BROKEN[case]
    catalogue = build_with(plug_bad=source, plug_good=STRIPE.format(part="good"))
    failed = state_of(catalogue, "plug_bad")
    assert failed.state == "failed"
    assert reason.replace("BlockScheme", "Scheme") in failed.error
    assert "Traceback" in failed.traceback
    assert catalogue.find("scheme", "good").name == "good"
    assert catalogue.find("scheme", "row").plugin.distribution == "ticketkit"
    assert all(offer.plugin.name != "plug_bad" for offer in catalogue.offers)


def test_a_part_that_is_not_found_names_the_near_ones_and_the_failed_plugins(
    build_with: Build,
) -> None:
    catalogue = build_with(plug_bad="import a_module_that_is_not_there")
    with pytest.raises(ticketkit.UnknownPart) as caught:
        catalogue.find("scheme", "rows")
    message = str(caught.value)
    assert message.startswith("unknown scheme 'rows'; choose from channel, kernel, nm, row")
    assert "did you mean 'row'" in message
    assert "plug_bad (dist-plug-bad 1.0): ModuleNotFoundError" in message


def test_a_name_offered_twice_serves_neither_and_a_qualified_name_chooses(
    build_with: Build,
) -> None:
    catalogue = build_with(plug_one=STRIPE.format(part="row"))
    with pytest.raises(ticketkit.UnknownPart, match="offered twice") as caught:
        catalogue.find("scheme", "row")
    assert "dist-plug-one/row (1.0)" in str(caught.value)
    assert f"ticketkit/row ({ticketkit.__version__})" in str(caught.value)
    assert catalogue.find("scheme", "ticketkit/row").plugin.distribution == "ticketkit"
    assert catalogue.find("scheme", "dist-plug-one/row").plugin.distribution == "dist-plug-one"


@pytest.mark.parametrize(
    "blocked", ["dist-plug-one", "dist-plug-one/plug_one", " x, dist-plug-one"]
)
def test_a_blocked_plugin_is_not_imported(blocked: str, build_with: Build) -> None:
    source = "raise RuntimeError('imported')"
    catalogue = build_with({"TICKETKIT_BLOCK": blocked}, plug_one=source)
    assert state_of(catalogue, "plug_one").state == "blocked"


def test_a_bare_entry_point_name_blocks_nothing(build_with: Build) -> None:
    catalogue = build_with({"TICKETKIT_BLOCK": "plug_one"}, plug_one=STRIPE.format(part="s"))
    assert state_of(catalogue, "plug_one").state == "loaded"


def test_ctrl_c_while_a_plugin_loads_is_not_swallowed(build_with: Build) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_with(plug_stop="raise KeyboardInterrupt")


def test_a_plugin_that_ends_the_program_as_it_loads_has_failed(build_with: Build) -> None:
    catalogue = build_with(plug_stop="raise SystemExit(3)")
    assert state_of(catalogue, "plug_stop").error == "SystemExit: 3"


def test_the_order_of_entry_points_does_not_matter(build_with: Build, tmp_path: Path) -> None:
    catalogue = build_with(plug_one=STRIPE.format(part="one"), plug_two=STRIPE.format(part="two"))
    again = build(list(reversed(entry_points(tmp_path))), {})
    assert [o.qualified for o in again.offers] == [o.qualified for o in catalogue.offers]
    assert again.plugins == catalogue.plugins


def test_the_catalogue_is_built_once() -> None:
    assert ticketkit.catalogue() is ticketkit.catalogue()
