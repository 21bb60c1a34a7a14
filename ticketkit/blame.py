"""Errors that name the plugin they come from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ticketkit.errors import PluginError, TicketkitError, is_stop, printable
from ticketkit.parts import Part
from ticketkit.registry import catalogue


@contextlib.contextmanager
def blamed(part: Part) -> Iterator[None]:
    """Turn what goes wrong inside into a `PluginError` that names the part and its distribution.

    Errors of ticketkit's own kinds pass: they have been told already. So does Ctrl-C.
    """
    try:
        yield
    except TicketkitError:
        raise
    except BaseException as error:
        if is_stop(error):
            raise
        offer = catalogue().of(part)
        origin = f"of {offer.plugin}" if offer else "not registered"
        reason = f"{type(error).__name__}: {printable(str(error))}"
        raise PluginError(f"part {part.name!r} {origin} failed: {reason}") from error
