"""The range that an option of a part may come from."""

from __future__ import annotations

from ticketkit.errors import UsageError
from ticketkit.parts import Part

_MOST = 2**31 - 1


def check_whole(part: Part, option: str, least: int, most: int = _MOST) -> None:
    """Raise a `UsageError` unless an option of a part is a whole number from `least` to `most`."""
    value = getattr(part, option)
    if type(value) is not int or not least <= value <= most:
        limits = f"from {least}" + (f" to {most}" if most < _MOST else "")
        raise UsageError(f"{part.name}: {option} is a whole number {limits}, found {value!r}")
