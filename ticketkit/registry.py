"""The catalogue: every part of every installed plugin, and why a plugin is not there.

Plugins run with the full rights of the process. What fails in one is kept, told, and kept away from
the others.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import pluggy

from ticketkit import hookspecs, parts
from ticketkit.errors import UnknownPart, UsageError, is_stop, near, printable

# Kind of part: the hook that offers it, and what each class offered must be.
KINDS: dict[str, tuple[str, type[parts.Part]]] = {
    "scheme": ("ticketkit_schemes", parts.Scheme),
    "criterion": ("ticketkit_criteria", parts.Criterion),
    "allocation": ("ticketkit_allocations", parts.Allocation),
    "strategy": ("ticketkit_strategies", parts.Strategy),
    "robustifier": ("ticketkit_robustifiers", parts.Robustifier),
    "evaluator": ("ticketkit_evaluators", parts.Evaluator),
    "task": ("ticketkit_tasks", parts.Task),
    "prior": ("ticketkit_priors", parts.Prior),
}
_PART_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


@dataclass(frozen=True)
class Plugin:
    """One entry point: where it comes from, and what became of it."""

    name: str
    module: str
    distribution: str
    version: str
    state: str = "loaded"
    """`loaded`, `failed` or `blocked`."""
    error: str = ""
    traceback: str = field(default="", repr=False)
    file: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"

    def failed(self, error: BaseException) -> Plugin:
        """This plugin, failed for this reason."""
        trace = "".join(traceback.format_exception(error))
        reason = f"{type(error).__name__}: {error}"
        return replace(self, state="failed", error=reason, traceback=trace)


@dataclass(frozen=True)
class Offer:
    """A part that a plugin offers."""

    kind: str
    name: str
    part: type[parts.Part]
    plugin: Plugin

    @property
    def qualified(self) -> str:
        """`distribution/part`, which chooses where two plugins offer one name."""
        return f"{self.plugin.distribution}/{self.name}"


@dataclass(frozen=True)
class Catalogue:
    """All offers and all plugins."""

    offers: tuple[Offer, ...]
    plugins: tuple[Plugin, ...]

    def find(self, kind: str, name: str) -> Offer:
        """The offer of this kind under a bare or a qualified name; `UnknownPart` otherwise."""
        here = [offer for offer in self.offers if offer.kind == kind]
        found = [offer for offer in here if name in (offer.name, offer.qualified)]
        if len(found) == 1:
            return found[0]
        if found:
            both = " and ".join(f"{offer.qualified} ({offer.plugin.version})" for offer in found)
            raise UnknownPart(f"{kind} {name!r} is offered twice: choose {both}")
        names = sorted({offer.name for offer in here})
        message = f"unknown {kind} {printable(name)!r}; choose from {', '.join(names)}"
        raise UnknownPart(message + near(name, names) + self._lost())

    def named(self, name: str) -> list[Offer]:
        """Every offer of this bare or qualified name, of any kind."""
        found = [offer for offer in self.offers if name in (offer.name, offer.qualified)]
        if not found:
            names = sorted({offer.name for offer in self.offers})
            message = f"no part is named {printable(name)!r}; choose from {', '.join(names)}"
            raise UnknownPart(message + near(name, names) + self._lost())
        return found

    def of(self, part: parts.Part) -> Offer | None:
        """The offer that a part was made from; None for a class that no plugin registered."""
        return next((offer for offer in self.offers if offer.part is type(part)), None)

    @property
    def failures(self) -> list[Plugin]:
        """The plugins that failed."""
        return [plugin for plugin in self.plugins if plugin.state == "failed"]

    def _lost(self) -> str:
        lost = [f"{plugin}: {plugin.error}" for plugin in self.failures]
        return f" (failed plugins: {'; '.join(lost)})" if lost else ""


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue of this process, built on first use."""
    return build(importlib.metadata.entry_points(group="ticketkit"), os.environ)


def build(
    entry_points: Sequence[importlib.metadata.EntryPoint] | importlib.metadata.EntryPoints,
    environment: Any,
) -> Catalogue:
    """Load every entry point by itself, and collect what each offers."""
    blocked = {name.strip() for name in environment.get("TICKETKIT_BLOCK", "").split(",")}
    manager = pluggy.PluginManager("ticketkit")
    manager.add_hookspecs(hookspecs)
    plugins: list[Plugin] = []
    offers: list[Offer] = []
    for entry_point in sorted(entry_points, key=lambda e: (e.name, _distribution(e))):
        plugin = _plugin(entry_point)
        if blocked & {plugin.distribution, f"{plugin.distribution}/{plugin.name}"}:
            plugins.append(replace(plugin, state="blocked", error="by TICKETKIT_BLOCK"))
            continue
        try:
            plugin, offered = _load(manager, entry_point, plugin)
        except BaseException as error:  # a plugin may raise anything
            if is_stop(error):
                raise
            plugins.append(plugin.failed(error))
            continue
        plugins.append(plugin)
        offers += offered
    return Catalogue(tuple(sorted(offers, key=lambda o: (o.kind, o.name))), tuple(plugins))


def _distribution(entry_point: importlib.metadata.EntryPoint) -> str:
    return (entry_point.dist and entry_point.dist.name) or "unknown"


def _plugin(entry_point: importlib.metadata.EntryPoint) -> Plugin:
    version = (entry_point.dist and entry_point.dist.version) or "unknown"
    return Plugin(entry_point.name, entry_point.value, _distribution(entry_point), version)


def _load(
    manager: pluggy.PluginManager, entry_point: importlib.metadata.EntryPoint, plugin: Plugin
) -> tuple[Plugin, list[Offer]]:
    module = entry_point.load()
    plugin = replace(plugin, file=str(getattr(module, "__file__", "") or ""))
    label = f"{plugin.distribution}/{plugin.name}"
    try:
        manager.register(module, label)
        manager.check_pending()
        return plugin, list(_offers(manager, module, plugin))
    except BaseException:
        # pluggy leaves a plugin half registered when it refuses it.
        if manager.has_plugin(label):
            manager.unregister(name=label)
        raise


def _offers(manager: pluggy.PluginManager, module: ModuleType, plugin: Plugin) -> Iterator[Offer]:
    seen: set[tuple[str, str]] = set()
    for kind, (hook, base) in KINDS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin is not module:
                continue
            for part in implementation.function():
                _check_part(part, base, hook)
                if (kind, part.name) in seen:
                    raise UsageError(f"{hook} offers {part.name!r} twice")
                seen.add((kind, part.name))
                yield Offer(kind, part.name, part, plugin)


def _check_part(part: object, base: type[parts.Part], hook: str) -> None:
    expected = f"{hook} must yield classes of ticketkit.{base.__name__}"
    if not isinstance(part, type) or not issubclass(part, base):
        raise TypeError(f"{expected}, found {part!r}")
    name = getattr(part, "name", None)
    if not isinstance(name, str) or not _PART_NAME.fullmatch(name):
        raise TypeError(f"{expected} with a name in lower case, found {name!r} in {part!r}")
    if missing := getattr(part, "__abstractmethods__", None):
        raise TypeError(f"{part.__name__} does not implement {', '.join(sorted(missing))}")
