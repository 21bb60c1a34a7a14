"""Threat models: what they mean, what they refuse, and how they are written."""

from __future__ import annotations

import math
import warnings
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ticketkit
from ticketkit import ThreatModel


def test_the_default_is_three_random_steps_in_linf() -> None:
    threat = ThreatModel()
    assert (threat.norm, threat.eps, threat.steps) == ("linf", 8 / 255, 3)
    assert (threat.start, threat.restarts) == ("random", 1)
    assert threat.step_size == pytest.approx(2.5 * 8 / 255 / 3)


def test_a_step_that_is_given_is_taken() -> None:
    assert ThreatModel(eps=0.3, steps=10, step=0.01).step_size == 0.01


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"norm": "l1"}, "norm is linf or l2, found 'l1'"),
        ({"start": "warm"}, "start is random or zero, found 'warm'"),
        ({"eps": -0.1}, r"eps is a finite number of 0 or more, found -0\.1"),
        ({"eps": math.nan}, "eps is .* found nan"),
        ({"eps": math.inf}, "eps is .* found inf"),
        ({"eps": "8/255"}, "eps is .* found '8/255'"),
        ({"eps": True}, "eps is .* found True"),
        ({"step": -1.0}, r"step is .* found -1\.0"),
        ({"step": math.nan}, "step is .* found nan"),
        ({"steps": -1}, "steps is a whole number of 0 or more, found -1"),
        ({"steps": 2.0}, r"steps is .* found 2\.0"),
        ({"restarts": 0}, "restarts is a whole number of 1 or more, found 0"),
    ],
)
def test_what_has_no_meaning_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=told):
        ThreatModel(**options)


def test_a_step_longer_than_the_ball_is_wide_warns_once() -> None:
    with pytest.warns(UserWarning, match=r"a step of 0\.3 is longer than .* 2 \* 0\.1") as told:
        threat = ThreatModel(eps=0.1, step=0.3)
    assert [warning.filename for warning in told] == [__file__]
    threat.scaled(0.5)  # a second warning would be an error here


@pytest.mark.parametrize(
    "options",
    [{"eps": 0.1, "step": 0.2}, {"eps": 0, "step": 1.0}, {"steps": 0, "step": 1.0}, {"steps": 1}],
)
def test_no_other_step_warns(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ThreatModel(**options)


@pytest.mark.parametrize(
    ("options", "clean"), [({}, False), ({"eps": 0.0}, True), ({"steps": 0}, True)]
)
def test_a_threat_without_radius_or_steps_is_clean(options: dict[str, Any], clean: bool) -> None:
    assert ThreatModel(**options).is_clean == clean


def test_scaling_multiplies_lengths_and_nothing_else() -> None:
    threat = ThreatModel("l2", eps=0.5, steps=4, step=0.25, start="zero", restarts=2)
    assert threat.scaled(0.5) == ThreatModel("l2", 0.25, 4, 0.125, "zero", 2)
    assert threat == ThreatModel("l2", 0.5, 4, 0.25, "zero", 2)
    assert ThreatModel(eps=0.5).scaled(0.1).step is None
    assert ThreatModel().scaled(0).is_clean
    with pytest.raises(ticketkit.UsageError, match=r"strength is .* found nan"):
        threat.scaled(math.nan)


def test_its_options_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        ThreatModel().eps = 0.1  # type: ignore[misc]


def test_a_spec_has_every_option() -> None:
    spec = "norm=l2,eps=0.5,steps=2,step=none,start=random,restarts=1"
    assert ThreatModel("l2", 0.5, 2).spec() == spec


lengths = st.floats(0, 1e6)


@given(
    st.builds(
        ThreatModel,
        norm=st.sampled_from(["linf", "l2"]),
        eps=lengths,
        steps=st.integers(0, 1000),
        start=st.sampled_from(["random", "zero"]),
        restarts=st.integers(1, 100),
    ),
    st.none() | st.floats(0, 2),
)
def test_a_spec_comes_back_as_the_same_threat(threat: ThreatModel, share: float | None) -> None:
    step = None if share is None else share * threat.eps
    threat = ThreatModel(threat.norm, threat.eps, threat.steps, step, threat.start, threat.restarts)
    assert ThreatModel.parse(threat.spec()) == threat


def test_fractions_are_read_and_what_is_left_out_is_default() -> None:
    assert ThreatModel.parse("eps=8/255") == ThreatModel(eps=8 / 255)
    assert ThreatModel.parse("") == ThreatModel()
    assert ThreatModel.parse("norm=l2,eps=1/2,steps=10,step=none").steps == 10


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("epz=1", "no option 'epz'; it has norm, eps, .*did you mean 'eps'"),
        ("norm=l7", "norm is one of linf, l2, found 'l7'"),
        ("eps=nan", "eps is a number, found 'nan'"),
        ("eps=-1", "eps is a finite number"),
        ("steps=1.5", r"steps is a whole number, found '1\.5'"),
        ("eps", "expected key=value, found 'eps'"),
    ],
)
def test_a_spec_without_a_meaning_is_refused(spec: str, told: str) -> None:
    with pytest.raises(ticketkit.UsageError, match=told):
        ThreatModel.parse(spec)
