"""Errors that name the plugin they come from."""

import pytest

import ticketkit
from ticketkit.blame import blamed
from ticketkit.options import resolve


def test_an_error_names_the_part_its_distribution_and_version() -> None:
    part = resolve("criterion", "magnitude")
    expected = rf"'magnitude' of magnitude \(ticketkit {ticketkit.__version__}\) failed: KeyError"
    with pytest.raises(ticketkit.PluginError, match=expected), blamed(part):
        raise KeyError("x")


def test_ticketkits_own_errors_and_ctrl_c_pass() -> None:
    part = resolve("criterion", "magnitude")
    for error in (ticketkit.WeightsError("nan"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, blamed(part):
            raise error
        assert caught.value is error
