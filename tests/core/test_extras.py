"""What only some parts need."""

from __future__ import annotations

import math

import pytest

from ticketkit import UsageError, import_extra


def test_a_module_that_is_there_is_imported() -> None:
    assert import_extra("math", "demo") is math


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.inner", "math.inner"])
def test_a_missing_one_is_a_line_that_says_what_to_install(module: str) -> None:
    package = module.partition(".")[0]
    with pytest.raises(UsageError) as caught:
        import_extra(module, "demo")
    assert str(caught.value) == (
        f"{package} cannot be imported: needs ticketkit[demo]: pip install 'ticketkit[demo]'"
    )
