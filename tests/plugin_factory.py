"""Installed plugins for tests: real modules with real dist-info folders."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

STRIPE = '''
import ticketkit

class Stripe(ticketkit.BlockScheme):
    """Pairs of output channels."""
    name = "{part}"
    def block(self, shape):
        return (2, *shape[1:])

@ticketkit.hookimpl
def ticketkit_schemes():
    yield Stripe
'''


def install(
    folder: Path,
    distribution: str,
    module: str,
    source: str,
    *,
    entry: str = "",
    version: str = "1.0",
) -> None:
    """Write a distribution with one plugin module into a folder of sys.path."""
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
    )
    points = info / "entry_points.txt"
    before = points.read_text(encoding="utf-8") if points.exists() else "[ticketkit]\n"
    points.write_text(f"{before}{entry or module} = {module}\n", encoding="utf-8")


def entry_points(folder: Path) -> list[importlib.metadata.EntryPoint]:
    """The plugins that were written into a folder, and ticketkit's own."""
    found = list(importlib.metadata.entry_points(group="ticketkit"))
    for distribution in importlib.metadata.distributions(path=[str(folder)]):
        found += [e for e in distribution.entry_points if e.group == "ticketkit"]
    return found
