"""What only some parts need, and `pip install ticketkit` does not bring."""

from __future__ import annotations

import importlib
from typing import Any

from ticketkit.errors import UsageError


def import_extra(module: str, extra: str) -> Any:
    """The module of this name, which ticketkit[extra] brings; a `UsageError` where it is missing.

    >>> import_extra("sklearn.datasets", "demo").load_digits()
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UsageError(
            f"{package} cannot be imported: needs ticketkit[{extra}]: "
            f"pip install 'ticketkit[{extra}]'"
        ) from error
