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


def test_a_part_that_ends_the_program_is_blamed_and_a_signal_is_not() -> None:
    class Stopped(SystemExit):
        """As the command line raises where a signal arrives."""

    part = resolve("criterion", "magnitude")
    with pytest.raises(ticketkit.PluginError, match="SystemExit: 3"), blamed(part):
        raise SystemExit(3)
    with pytest.raises(Stopped), blamed(part):
        raise Stopped
