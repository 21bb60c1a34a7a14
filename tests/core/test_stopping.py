"""How a loop learns that it should stop."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from ticketkit import Stopped
from ticketkit.stopping import ask, steps


class Stop(SystemExit):
    """What a handler raises where no loop can be asked."""


def ends(error: type[BaseException]) -> Callable[[Callable[[], None]], None]:
    """A function that has to end with an error."""

    def run(function: Callable[[], None]) -> None:
        with pytest.raises(error):
            function()

    return run


def test_nothing_is_asked_where_nobody_asks() -> None:
    with steps() as requested:
        assert requested() is None


def test_a_loop_that_runs_is_asked_and_goes_on() -> None:
    @ends(Stopped)
    def loop() -> None:
        with steps() as requested:
            ask(75, Stop())
            assert requested() == 75
            raise Stopped("saved", 75)


def test_where_no_loop_runs_it_stops_at_once() -> None:
    with pytest.raises(Stop):
        ask(75, Stop())
    with steps():
        pass
    with pytest.raises(Stop):
        ask(75, Stop())


def test_who_asks_twice_is_impatient() -> None:
    @ends(KeyboardInterrupt)
    def loop() -> None:
        with steps() as requested:
            ask(75, Stop())
            assert requested() == 75
            ask(130, KeyboardInterrupt())


def test_what_a_loop_did_not_look_at_takes_effect_after_it() -> None:
    done = []

    @ends(Stop)
    def loop() -> None:
        with steps():
            ask(75, Stop())
            done.append("the last step")
        done.append("what comes next")

    assert done == ["the last step"]


def test_an_error_of_a_loop_that_was_asked_is_told_as_it_is() -> None:
    @ends(ZeroDivisionError)
    def loop() -> None:
        with steps():
            ask(75, Stop())
            raise ZeroDivisionError


def test_the_outer_of_two_loops_learns_what_the_inner_one_did_not_see() -> None:
    @ends(Stopped)
    def loop() -> None:
        with steps() as outer:
            with steps() as inner:
                ask(130, KeyboardInterrupt())
                assert inner() == 130
            raise Stopped("saved", outer() or 0)


def test_an_inner_loop_that_begins_later_is_asked_as_well() -> None:
    @ends(Stopped)
    def loop() -> None:
        with steps():
            ask(75, Stop())
            with steps() as inner:
                assert inner() == 75
                raise Stopped("saved", 75)


@pytest.mark.parametrize("ended", [Stopped("saved", 75), KeyboardInterrupt()])
def test_the_next_loop_begins_unasked(ended: BaseException) -> None:
    @ends(type(ended))
    def loop() -> None:
        with steps():
            ask(75, Stop())
            raise ended

    with steps() as requested:
        assert requested() is None


def test_a_library_installs_no_handlers() -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with steps():
        assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
    with pytest.raises(KeyboardInterrupt), steps():
        signal.raise_signal(signal.SIGINT)
