"""What `ticketkit --version` prints."""

from __future__ import annotations

import ticketkit


def lines(verbose: bool) -> list[str]:
    """The version; if verbose, also those of Python, torch and every plugin's distribution."""
    first = f"ticketkit {ticketkit.__version__}"
    if not verbose:
        return [first]
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from ticketkit.registry import catalogue

    found = [first, f"python {platform.python_version()}", f"platform {platform.platform()}"]
    for name in ("torch", "torchvision", "torch-pruning", "safetensors", "numpy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    others = {(plugin.distribution, plugin.version) for plugin in catalogue().plugins}
    found += [f"{name} {version_}" for name, version_ in sorted(others) if name != "ticketkit"]
    return found
